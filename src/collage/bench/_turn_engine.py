"""One turn's own engine, made of worker processes that outlive it.

Every turn has a fresh dispatcher, and starting ten processes for each would take longer than the turn. So the processes
stay, and this stands between them and the turn's driver: it announces the workers, in the roles that the policy gives
them, pads jobs up to their draws, counts those that overran, and ends only when nothing of the turn runs any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from collage.bench._links import LinkedEngine
from collage.bench._padding import Padding
from collage.dispatch import JobId, Role, WorkerId
from collage.engines import EngineListener, FloatArray, LocalEngine, Submission


class TurnEngine:
    """An `Engine` over running workers, and what they report to.

    slack: seconds by which a job may be longer than its draw before it counts as an overrun.
    """

    cancel_effect = LocalEngine.cancel_effect

    def __init__(
        self,
        local: LocalEngine | LinkedEngine,
        roles: Mapping[WorkerId, frozenset[Role]],
        padding: Padding,
        slack: float,
    ) -> None:
        self.jobs = 0
        self.overruns = 0
        self._local = local
        self._roles = roles
        self._padding = padding
        self._slack = slack
        self._listener: EngineListener | None = None
        self._running: dict[JobId, tuple[WorkerId, float]] = {}  # with the time drawn for it
        self._idle = asyncio.Event()
        self._idle.set()
        self._drawn = 0.0

    @property
    def workers(self) -> Mapping[WorkerId, int | None]:
        """The workers below."""
        return self._local.workers

    async def start(self, listener: EngineListener) -> None:
        """Announce the workers that are up; those that come back later follow."""
        self._listener = listener
        self._padding.begin()
        self._local.hold = self._draw
        self._local.attach(self)

    def submit(self, job: Submission) -> None:
        """Run a job, padded up to its draw."""
        self._local.submit(job)
        self._running[job.job] = (job.worker, self._drawn)
        self._idle.clear()

    def cancel(self, job: JobId) -> None:
        """Does nothing: a padded wait stands for work, and work that runs cannot be stopped."""
        self._local.cancel(job)

    async def idle(self) -> None:
        """Wait until nothing of the turn runs."""
        while self._running:  # what ends may be followed by what it made possible
            await self._idle.wait()

    async def stop(self) -> None:
        """Wait for what still runs, and hear no more of the workers."""
        await self.idle()
        self._listener = None

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        """A worker is ready: it may run what the policy lets it."""
        if self._listener is not None:
            self._listener.worker_up(worker, self._roles[worker] & roles, slots)

    def worker_down(self, worker: WorkerId, why: str) -> None:
        """A worker died, and what it ran with it."""
        for job in [job for job, (owner, _) in self._running.items() if owner == worker]:
            self._end(job)
        if self._listener is not None:
            self._listener.worker_down(worker, why)

    def job_completed(self, job: JobId, output: FloatArray, seconds: float) -> None:
        """A job ended; it overran where the machine and not the draw decided how long it took."""
        drawn = self._end(job)
        self.jobs += 1
        self.overruns += seconds > drawn + self._slack
        if self._listener is not None:
            self._listener.job_completed(job, output, seconds)

    def job_failed(self, job: JobId, why: str) -> None:
        """A job gave no output."""
        self._end(job)
        if self._listener is not None:
            self._listener.job_failed(job, why)

    def job_freed(self, job: JobId) -> None:
        """A cancelled job has stopped."""
        self._end(job)
        if self._listener is not None:
            self._listener.job_freed(job)

    def _draw(self, worker: WorkerId, role: Role) -> float:
        self._drawn = self._padding.draw(worker, role)
        return self._drawn

    def _end(self, job: JobId) -> float:
        _, drawn = self._running.pop(job)
        if not self._running:
            self._idle.set()
        return drawn
