"""One worker of the Ray engine across all the lives of its actor: placed, heard, given jobs, lost, placed again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import EngineListener, Submission
from collage.engines._models import model_of
from collage.engines._ray_cluster import one_line
from collage.engines._wire import MAX_DIMS, MAX_PAYLOAD

_log = logging.getLogger(__name__)

_BACKOFF = 0.2  # seconds before an actor is asked, or made, again; doubles each time
_BACKOFF_MOST = 5.0


class Place(Protocol):
    """What a station needs of its engine. Its coroutines run Ray's blocking calls elsewhere."""

    @property
    def listener(self) -> EngineListener | None:
        """Who is told; None once stopped."""

    ray: Any
    start_seconds: float

    async def make(self) -> Any:
        """A new actor, which has loaded nothing."""

    def parcel(self, roles: frozenset[Role]) -> tuple[Any, ...]:
        """What an actor is to load for these roles: the arguments of its `load`."""

    async def kill(self, actor: Any, *, again: bool) -> None:
        """End it. again: Ray is to make it again."""

    async def room(self) -> str:
        """What a worker takes, and what the cluster has."""


class RayStation:
    """Event loop's thread only. models: the number of the actor's model by role and size (None: of any size)."""

    def __init__(self, place: Place, name: WorkerId, models: dict[tuple[Role, int | None], int]) -> None:
        self.name = name
        self.node: str | None = None  # where it is, while it is up
        self.process: int | None = None  # its id there
        self.tried = asyncio.Event()  # it is up, or has failed once, or its time to start is over
        self.trouble = ""  # why it is not up
        self._place = place
        self._models = models
        self._actor: Any = None
        self._lost = asyncio.Event()  # somebody has noticed that it is gone
        self._sequence = 0  # of the last call
        self._job: JobId | None = None  # that it runs
        self._calls: set[asyncio.Task[None]] = set()
        self._limit: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes jobs."""
        return self.node is not None

    @property
    def roles(self) -> frozenset[Role]:
        """Which models it has."""
        return frozenset(role for role, _ in self._models)

    # Its lives.

    async def supervise(self) -> None:
        """Keep an actor alive, for ever. Ray makes a lost one again; one that Ray gives up is made anew here."""
        late = asyncio.create_task(self._say_late())
        backoff = _BACKOFF
        try:
            while True:
                try:
                    self._actor = await self._place.make()
                    while await self._live():
                        backoff = _BACKOFF
                except Exception as error:  # Ray's, of which there are many; whatever it is, the next may be better
                    self.go_down(one_line(error))
                await self._end_actor()
                _log.warning("worker %s: another actor in %.1f s", self.name, backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _BACKOFF_MOST)
        finally:
            late.cancel()
            self._set_limit(None)
            for call in self._calls:
                call.cancel()
            await self._end_actor()

    async def _live(self) -> bool:
        """From here until it is lost. True: Ray makes it again; False: it is of no use."""
        presence = await self._come_up()
        if presence.broken:
            self.go_down(presence.broken)
            return False
        self._lost.clear()
        self.node, self.process, self.trouble = presence.node, presence.process, ""
        _log.info("worker %s is up on node %s, process %d", self.name, presence.node[:12], presence.process)
        self.tried.set()
        if self._place.listener is not None:
            self._place.listener.worker_up(self.name, self.roles, 1)
        watching = asyncio.ensure_future(self._watch())
        noticing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((watching, noticing), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                self.go_down(watching.result())
        finally:
            watching.cancel()
            noticing.cancel()
        return True

    async def _come_up(self) -> Any:
        """Waits for as long as it takes: there may be no room for it now."""
        backoff = _BACKOFF
        while True:
            try:
                return await self._actor.load.remote(*self._place.parcel(self.roles))
            except self._place.ray.exceptions.ActorUnavailableError:  # on its way from one node to another
                await asyncio.sleep(backoff)
                backoff = min(backoff * 1.5, 1.0)

    async def _watch(self) -> str:
        """Until it is lost: why."""
        try:
            await self._actor.watch.options(concurrency_group="watch").remote()
        except self._place.ray.exceptions.RayError as error:
            return one_line(error)
        return "it was restarted"

    async def _say_late(self) -> None:
        await asyncio.sleep(self._place.start_seconds)
        if not self.tried.is_set():
            try:
                room = await self._place.room()
            except Exception as error:  # of a cluster that is going, say: whoever waits for this worker must not
                room = one_line(error)
            self.trouble = f"it was not placed and ready within {self._place.start_seconds:g} s: {room}"
            _log.warning("worker %s is not up: %s", self.name, self.trouble)
            self.tried.set()

    async def _end_actor(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None:
            await asyncio.shield(self._place.kill(actor, again=False))

    def leave(self) -> None:
        """It was removed."""
        self.go_down("it was removed")

    def go_down(self, why: str) -> None:
        """It is gone, and with it what it ran; said once."""
        was_ready, self.node, self.process = self.ready, None, None
        self.trouble, self._job = why, None
        self._set_limit(None)
        self._lost.set()
        self.tried.set()
        if was_ready:
            _log.warning("worker %s is down: %s", self.name, why)
            if self._place.listener is not None:
                self._place.listener.worker_down(self.name, why)

    # Its jobs.

    def submit(self, job: Submission, hold: float, limit: float) -> None:
        """Send a job; limit: seconds after which the actor is killed. Raises ValueError for what can never run."""
        number = model_of(job, self._models, hold)
        if not self.ready:
            # Later, so that the caller has heard of the worker's end, and has its own house in order, before this.
            self._later(self._fail, job.job, f"worker {self.name} is down")
            return
        if self._job is not None:
            raise ValueError(f"worker {self.name} is busy")
        self._sequence += 1
        call = f"{self.name}#{self._sequence}"
        try:
            reference = self._actor.run.remote(call, number, job.inputs, hold)
        except Exception as error:  # no room in the object store, a cluster that is going
            self._later(self._fail, job.job, f"worker {self.name} was not reached: {one_line(error)}")
            return
        self._job = job.job
        task = asyncio.create_task(self._hear(job.job, call, reference))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        if math.isfinite(limit):
            self._set_limit(limit)

    async def _hear(self, job: JobId, call: str, reference: Any) -> None:
        errors = self._place.ray.exceptions
        answer: Any = None
        why = ""
        try:
            answer = await reference
            why = _wrong(answer, call)
        except errors.RayActorError as error:
            if self._runs(job, call):
                self.go_down(one_line(error))
            return
        except Exception as error:  # of the model, or of Ray: the result was lost, say
            cause = getattr(error, "cause", None) or error
            why = f"{type(cause).__name__}: {' '.join(str(cause).split())[:500]}"
        if not self._runs(job, call):
            return  # lost with the actor's former life
        self._job = None
        self._set_limit(None)
        listener = self._place.listener
        if listener is None:
            return
        if why:
            listener.job_failed(job, why)
        else:
            listener.job_completed(job, answer[2], answer[1])

    def _runs(self, job: JobId, call: str) -> bool:
        return self._job == job and call == f"{self.name}#{self._sequence}"

    def _fail(self, job: JobId, why: str) -> None:
        if self._place.listener is not None:
            self._place.listener.job_failed(job, why)

    def _later(self, what: Callable[[JobId, str], None], job: JobId, why: str) -> None:
        asyncio.get_running_loop().call_soon(what, job, why)

    def _set_limit(self, seconds: float | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if seconds is not None:
            self._limit = asyncio.get_running_loop().call_later(seconds, self._hang, seconds)

    def _hang(self, seconds: float) -> None:
        task = asyncio.create_task(self._place.kill(self._actor, again=True))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        self.go_down(f"a job ran for more than {seconds:g} s")


def _wrong(answer: Any, call: str) -> str:
    """Why this is no answer of this call; empty where it is one. Whether it is the model's is for who decodes it."""
    if not (isinstance(answer, tuple) and len(answer) == 3 and answer[0] == call):
        return "what came back is no answer of this job"
    _, seconds, output = answer
    if not (isinstance(seconds, float) and math.isfinite(seconds) and seconds >= 0):
        return "what came back has no time"
    if not (isinstance(output, np.ndarray) and output.dtype == np.float32 and 0 < output.ndim <= MAX_DIMS):
        return "what came back is no float32 tensor"
    return f"{output.nbytes} bytes came back, which is over the limits" if output.nbytes > MAX_PAYLOAD else ""
