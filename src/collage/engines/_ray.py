"""The `ray` engine: workers are actors on a Ray cluster, placed and restarted by Ray."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import CancelEffect, EngineListener, Submission
from collage.engines._models import Hold, Models, name_workers, number_files, pick_models
from collage.engines._ray_cluster import RayCluster, RayOptions, keep_sigterm, one_line
from collage.engines._ray_station import RayStation
from collage.engines._supervised import Supervised
from collage.exceptions import ModelError, SettingsError

if TYPE_CHECKING:
    from collage.engines._ray_actor import Sent

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_CALL_SECONDS = 10.0  # that Ray has for a kill; a cluster that is gone does not answer


class RayEngine(Supervised[RayStation]):
    """Workers with ONNX Runtime on the nodes of a Ray cluster, as far apart as Ray's SPREAD puts them.

    models, workers, threads, hold, hung_seconds: as of `LocalEngine`. options: the cluster, and what a worker takes
    of its node. Nodes need the same versions of Python, Ray and Collage, and none of the model files: the bytes
    travel through Ray's object store, and their hash is checked where they arrive.

    A node that leaves takes its workers down; Ray makes them again where there is room, now or once a node joins, and
    `worker_up` follows. A job that ran there is lost, and Ray does not run it again: that is the dispatcher's to say.

    Ray cannot stop a method that runs, so a cancelled job keeps its slot to the end (`CancelEffect.NOTHING`).

    Raises SettingsError where Ray is not installed, or the address is none; ModelError for a file that is not there.
    """

    cancel_effect = CancelEffect.NOTHING

    def __init__(
        self,
        models: Models,
        workers: int | Mapping[WorkerId, frozenset[Role]],
        *,
        options: RayOptions | None = None,
        threads: int = 1,
        hold: Hold | None = None,
        hung_seconds: float | None = None,
    ) -> None:
        workers = name_workers(workers, models)
        self.hold = hold
        self.listener: EngineListener | None = None
        self._options = options or RayOptions()
        self.start_seconds = self._options.start_seconds
        self._models = models
        self._threads = threads
        self._hung_seconds = math.inf if hung_seconds is None else hung_seconds
        self._cluster = RayCluster(self._options)
        self.ray = self._cluster.ray
        self._calls: ThreadPoolExecutor | None = None  # Ray's blocking calls, one after the other
        self._actors: Any = None  # Ray's class of them
        self._sent: dict[Path, Sent] = {}
        self._contents: dict[Path, Any] = {}  # in Ray's object store, here: as long as we live, for whoever comes up
        super().__init__(workers)

    @property
    def workers(self) -> dict[WorkerId, int | None]:
        """All workers, there or not. None is a process of ours."""
        return dict.fromkeys(self._stations)

    @property
    def places(self) -> dict[WorkerId, tuple[str, int]]:
        """The id of the node that each worker is on, and that of its process there; of those that are up."""
        places = {name: (station.node, station.process) for name, station in self._stations.items()}
        return {name: (node, pid) for name, (node, pid) in places.items() if node is not None and pid is not None}

    async def start(self, listener: EngineListener) -> None:
        """Join the cluster and place the workers; returns when each is ready, has failed once, or its time is over.

        Raises SettingsError where there is no cluster, and ModelError where no worker is ready.
        """
        self.listener = listener
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="collage-ray")
        try:
            await self._call(self._connect)
            keep_sigterm()
            await self._start_all()
        except BaseException:
            await self.stop()
            raise

    def submit(self, job: Submission) -> None:
        """See Engine. Its headers are not looked at, as nothing here speaks a protocol that has any.

        Raises ValueError for an unknown worker, role or size, a busy worker, or inputs of another form.
        """
        station = self._at(job.worker)
        hold = self.hold(job.worker, job.role) if self.hold else 0.0
        station.submit(job, hold, self._hung_seconds)

    def cancel(self, job: JobId) -> None:
        """Does nothing: a method that runs cannot be stopped."""

    async def stop(self) -> None:
        """End all actors, and leave the cluster if `start` joined it. Idempotent."""
        self.listener = None
        await self._end_all()
        if self._calls is not None:
            await asyncio.shield(self._call(self._cluster.disconnect))
            self._calls.shutdown(wait=False)
            self._calls = None

    # What stations need.

    async def make(self) -> Any:
        """A new actor, which Ray places when there is room for it, and which has loaded nothing."""
        return await self._call(self._make)

    def parcel(self, roles: frozenset[Role]) -> tuple[Any, ...]:
        """What an actor is to load for these roles: the arguments of its `load`."""
        paths, _ = number_files(pick_models("", roles, self._models))
        return [self._sent[path] for path in paths], *(self._contents[path] for path in paths)

    async def kill(self, actor: Any, *, again: bool) -> None:
        """End an actor. again: Ray is to make it again."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._call(lambda: self.ray.kill(actor, no_restart=not again))
        except Exception as error:  # no cluster any more: it is dead already
            _log.warning("an actor could not be killed: %s", one_line(error))

    async def room(self) -> str:
        """What a worker takes, and what the cluster has, for people."""
        return await self._call(self._cluster.room)

    def _make(self) -> Any:
        options = self._options
        return self._actors.options(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            scheduling_strategy="SPREAD",
            max_restarts=-1,
            max_task_retries=0,  # whether to run a job again is the dispatcher's to say
        ).remote(self._threads, gpu=options.gpus > 0)

    def _connect(self) -> None:
        from collage.engines._ray_actor import RayWorker, Sent  # noqa: PLC0415 - with ONNX Runtime, half a second

        self._cluster.connect()
        # A worker is watched, and a lost caller's watch may still be there.
        self._actors = self.ray.remote(concurrency_groups={"watch": 2})(RayWorker)
        for path in number_files(self._models)[0]:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
            self._sent[path] = Sent(path.name, hashlib.sha256(content).hexdigest())
            self._contents[path] = self.ray.put(content)

    async def _call(self, work: Callable[..., _T], *arguments: Any) -> _T:
        if self._calls is None:
            raise SettingsError("engine: the cluster has been left")
        return await asyncio.get_running_loop().run_in_executor(self._calls, work, *arguments)

    def _station(self, name: WorkerId, roles: frozenset[Role]) -> RayStation:
        return RayStation(self, name, number_files(pick_models(name, roles, self._models))[1])
