"""The `local` engine: workers are processes on this machine, started, supervised and restarted here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import CancelEffect, EngineListener, FloatArray, Submission
from collage.engines._models import Hold, Models, model_of, name_workers, number_files, pick_models
from collage.engines._process import WorkerProcess
from collage.engines._supervised import Supervised
from collage.engines._wire import Frame, Kind, WireError

_log = logging.getLogger(__name__)

_BACKOFF = 0.1  # seconds before the first restart; doubles with every short life
_BACKOFF_MOST = 5.0
_LONG_LIFE = 5.0  # seconds; a worker that lived so long starts again with a short backoff


class LocalEngine(Supervised["_Station"]):
    """Worker processes with ONNX Runtime on the CPU.

    models: an ONNX file per role, or several by the number of queries that their job can hold. workers: how many, each
    with all models (named w0, w1, ...), or the roles of each by name. threads: of one model run. nice: how far
    the system puts workers behind other processes, 0..19: where there are no more cores than workers, whoever hands
    them their jobs should not have to wait for one. hold: the least time a job takes on its worker, seconds, drawn for
    each job: the worker runs the model and then waits, its slot taken, as the workers of arXiv 1904.12222 did.
    hung_seconds: a worker whose job runs longer is killed and restarted. start_seconds: a worker that is not ready by
    then is, too.

    A model that runs cannot be stopped, so a cancelled job keeps its slot to the end (`CancelEffect.NOTHING`).

    What an engine can check of an answer without knowing the model is checked here: its frame, its job, its size and
    shape. Whether a shape is the model's, and its values are finite, is for the code that decodes it.
    """

    cancel_effect = CancelEffect.NOTHING

    def __init__(
        self,
        models: Models,
        workers: int | Mapping[WorkerId, frozenset[Role]],
        *,
        threads: int = 1,
        nice: int = 0,
        hold: Hold | None = None,
        hung_seconds: float | None = None,
        start_seconds: float = 60.0,
    ) -> None:
        workers = name_workers(workers, models)
        self.hold = hold
        self._listener: EngineListener | None = None
        self._models = models
        self._threads = threads
        self._nice = nice
        self._start_seconds = start_seconds
        self._hung_seconds = hung_seconds
        self._straggling: dict[WorkerId, tuple[float, float]] = {}  # (until, seconds per job)
        super().__init__(workers)

    @property
    def workers(self) -> dict[WorkerId, int | None]:
        """All workers, with the process id of those that have a process."""
        return {name: station.pid for name, station in self._stations.items()}

    async def start(self, listener: EngineListener) -> None:
        """Start the workers; returns when each is ready or has failed once. Raises ModelError where none is ready."""
        self._listener = listener
        try:
            await self._start_all()
        except BaseException:
            await self.stop()
            raise

    def remove(self, worker: WorkerId) -> None:
        """See Supervised."""
        super().remove(worker)
        self._straggling.pop(worker, None)

    def _station(self, name: WorkerId, roles: frozenset[Role]) -> _Station:
        models = pick_models(name, roles, self._models)
        seconds = self._start_seconds
        return _Station(self, name, models, threads=self._threads, nice=self._nice, start_seconds=seconds)

    @property
    def roles(self) -> frozenset[Role]:
        """All roles that there is a model for."""
        return frozenset(self._models)

    def attach(self, listener: EngineListener) -> None:
        """Report to another listener from now on. It is told of every worker that is up, once that is idle.

        A job still running is the former listener's: nobody hears of its end.
        """
        self._listener = listener
        for station in self._stations.values():
            if station.ready:
                station.disown()

    def submit(self, job: Submission) -> None:
        """See Engine. Its headers are not looked at, as nothing here speaks a protocol that has any.

        Raises ValueError for an unknown worker, role or size, a busy worker, or inputs of another form.
        """
        station = self._at(job.worker)
        station.submit(job, self._draw(job.worker, job.role), self._hung_seconds)

    def cancel(self, job: JobId) -> None:
        """Does nothing: a running model cannot be stopped."""

    def straggle(self, worker: WorkerId, seconds_per_job: float, for_seconds: float) -> None:
        """Make a worker slow on purpose, for demonstrations. Raises ValueError for an unknown worker."""
        self._at(worker)
        self._straggling[worker] = (asyncio.get_running_loop().time() + for_seconds, seconds_per_job)

    async def stop(self) -> None:
        """Stop all workers. Idempotent. They hold nothing worth keeping, so they are killed."""
        self._listener = None
        await self._end_all()

    def _draw(self, worker: WorkerId, role: Role) -> float:
        hold = self.hold(worker, role) if self.hold else 0.0
        if worker in self._straggling:
            until, seconds = self._straggling[worker]
            if asyncio.get_running_loop().time() < until:
                return max(hold, seconds)
            del self._straggling[worker]
        return hold

    @property
    def listener(self) -> EngineListener | None:
        """Who is told; None once stopped."""
        return self._listener


class _Station:
    """One worker of the engine across all the lives of its process."""

    def __init__(
        self, engine: LocalEngine, name: WorkerId, models: Models, *, threads: int, nice: int, start_seconds: float
    ) -> None:
        self.name = name
        self.tried = asyncio.Event()  # the first start has succeeded or failed
        self.ready = False
        self.trouble = ""  # why it last went down
        self._engine = engine
        self._paths, self._models = number_files(models)
        self._threads = threads
        self._nice = nice
        self._start_seconds = start_seconds
        self._process: WorkerProcess | None = None
        self._gone = asyncio.Event()
        self._limit: asyncio.TimerHandle | None = None  # on the start, then on each job
        self._sequence = 0  # of the last job handed over
        self._busy = False
        self._job: JobId | None = None  # None while busy: a former listener's job

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def supervise(self) -> None:
        """Keep a process alive, for ever."""
        loop = asyncio.get_running_loop()
        backoff = _BACKOFF
        while True:
            began = loop.time()
            self._gone.clear()
            process = None
            try:
                process = self._process = WorkerProcess(
                    self._paths, self._threads, self._nice, self._on_frame, self._on_gone
                )
                self._set_limit(self._start_seconds, "it was not ready in time")
                await self._process.launch()
                await self._gone.wait()
            except Exception as error:  # no more processes, descriptors, threads or memory: perhaps later
                self._on_gone(f"the process could not be started: {error}")
            finally:
                self._set_limit(None)
                self.ready = False
                if process is not None:
                    await asyncio.shield(process.bury())
            backoff = _BACKOFF if loop.time() - began > _LONG_LIFE else min(backoff * 2, _BACKOFF_MOST)
            _log.warning("worker %s is down: %s; restarting in %.1f s", self.name, self.trouble, backoff)
            await asyncio.sleep(backoff)

    def submit(self, job: Submission, hold: float, limit: float | None) -> None:
        number = model_of(job, self._models, hold)
        if not self.ready or self._process is None:
            # Later, so that the caller has heard of the worker's end, and has its own house in order, before this.
            asyncio.get_running_loop().call_soon(self._fail_down, job.job, self._engine.listener)
            return
        if self._busy:
            raise ValueError(f"worker {self.name} is busy")
        self._process.run(self._sequence + 1, number, job.inputs, hold)
        self._sequence += 1
        self._busy, self._job = True, job.job
        if limit is not None:
            self._set_limit(limit, f"a job ran for more than {limit:g} s")

    def leave(self) -> None:
        """It was removed, and is never heard of again."""
        self._on_gone("it was removed")

    def disown(self) -> None:
        """A new listener: whatever runs is not its own."""
        if self._busy:
            self._job = None
        else:
            self._announce()

    def _announce(self) -> None:
        if self._engine.listener is not None:
            self._engine.listener.worker_up(self.name, frozenset(role for role, _ in self._models), 1)

    def _fail_down(self, job: JobId, listener: EngineListener | None) -> None:
        if listener is not None and listener is self._engine.listener:
            listener.job_failed(job, f"worker {self.name} is down")

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind is Kind.READY and not self.ready:
            self._set_limit(None)
            self.ready = True
            self.tried.set()
            self._announce()
        elif frame.kind is Kind.BROKEN and not self.ready and self._process is not None:
            self._process.end(frame.text())
        elif frame.kind in (Kind.DONE, Kind.FAILED) and self._busy and frame.job == self._sequence:
            output = frame.array() if frame.kind is Kind.DONE else None
            self._report(frame, output)
        else:
            raise WireError(f"{frame.kind.name} for job {frame.job}, which it was not given")

    def _report(self, frame: Frame, output: FloatArray | None) -> None:
        self._set_limit(None)
        job, self._job, self._busy = self._job, None, False
        listener = self._engine.listener
        if job is None:
            self._announce()
        elif listener is not None and output is not None:
            listener.job_completed(job, output, frame.seconds)
        elif listener is not None:
            listener.job_failed(job, frame.text())

    def _on_gone(self, why: str) -> None:
        was_ready, self.ready = self.ready, False
        disowned = self._busy and self._job is None
        self._busy, self._job, self.trouble = False, None, why
        self._set_limit(None)
        self.tried.set()
        self._gone.set()
        if was_ready and not disowned and self._engine.listener is not None:
            self._engine.listener.worker_down(self.name, why)

    def _set_limit(self, seconds: float | None, why: str = "") -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if seconds is not None and self._process is not None:
            self._limit = asyncio.get_running_loop().call_later(seconds, self._process.end, why)
