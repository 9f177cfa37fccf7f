"""Several engines as one: some workers here, some elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import CancelEffect, Engine, EngineListener, Submission
from collage.engines._local import LocalEngine
from collage.engines._oip import OipEngine


class MixedEngine:
    """Local and remote workers side by side. Their names must differ (ValueError).

    Cancelling has an effect that can be relied on only where all engines have the same; otherwise it is `nothing`.
    """

    def __init__(self, engines: Sequence[LocalEngine | OipEngine]) -> None:
        self._engines = tuple(engines)
        self._by_worker: dict[WorkerId, Engine] = {}
        for engine in self._engines:
            for worker in engine.workers:
                if worker in self._by_worker:
                    raise ValueError(f"two workers are called {worker}")
                self._by_worker[worker] = engine
        effects = {engine.cancel_effect for engine in self._engines}
        self.cancel_effect = effects.pop() if len(effects) == 1 else CancelEffect.NOTHING

    @property
    def workers(self) -> dict[WorkerId, int | None]:
        """All workers, with the process id of those that are processes here."""
        return {worker: pid for engine in self._engines for worker, pid in engine.workers.items()}

    async def start(self, listener: EngineListener) -> None:
        """Start all engines; returns when all workers had their chance. Raises ModelError as the local one does."""
        starting = [asyncio.create_task(engine.start(listener)) for engine in self._engines]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            await self.stop()
            raise

    def submit(self, job: Submission) -> None:
        """See Engine. Raises ValueError as the worker's own does."""
        if job.worker not in self._by_worker:
            raise ValueError(f"no worker {job.worker}")
        self._by_worker[job.worker].submit(job)

    def cancel(self, job: JobId) -> None:
        """As each engine does; jobs of another are not minded."""
        for engine in self._engines:
            engine.cancel(job)

    def add(self, worker: WorkerId, roles: frozenset[Role]) -> None:
        """Start another local worker, in the first group of them that has the models.

        Raises ValueError for a name in use, and where no group here has the models.
        """
        if worker in self._by_worker:
            raise ValueError(f"there is a worker {worker} already")
        for engine in self._engines:
            if isinstance(engine, LocalEngine) and roles <= engine.roles:
                engine.add(worker, roles)
                self._by_worker[worker] = engine
                return
        raise ValueError(f"no group of local workers has models for {sorted(roles)}")

    def remove(self, worker: WorkerId) -> None:
        """Stop a local worker for good. Raises ValueError for any other: a remote server can only be drained."""
        if not self.removable(worker):
            raise ValueError(f"{worker} is no local worker: it can be drained, not removed")
        engine = self._by_worker.pop(worker)
        assert isinstance(engine, LocalEngine)
        engine.remove(worker)

    def removable(self, worker: WorkerId) -> bool:
        """Whether it is a local worker."""
        return isinstance(self._by_worker.get(worker), LocalEngine)

    def straggle(self, worker: WorkerId, seconds_per_job: float, for_seconds: float) -> None:
        """Make a local worker slow on purpose. Raises ValueError for any other."""
        engine = self._by_worker.get(worker)
        if not isinstance(engine, LocalEngine):
            raise ValueError(f"no local worker {worker}")
        engine.straggle(worker, seconds_per_job, for_seconds)

    async def stop(self) -> None:
        """Stop all. Idempotent."""
        await asyncio.gather(*(engine.stop() for engine in self._engines))
