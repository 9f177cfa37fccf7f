"""The data plane: images in, answers out, whatever the transport.

One query's way: prepared (`_prepare`: decoded once, checked) -> submitted to the driver -> answered. A request's images
are all checked before the first is submitted, so a bad one costs nobody anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

from collage.dispatch import Autoscaler, Dispatcher, DispatchView, Policy, QueryId, Source, Why, WorkerId, get_policy
from collage.engines import Engine, Hold
from collage.exceptions import DeadlineExceeded, InvalidInput, Unavailable
from collage.imaging import ImageLimits
from collage.serving._agreement import Agreement
from collage.serving._driver import Driver
from collage.serving._inputs import Classified, ImageInput, Stages
from collage.serving._kept import Answered, BackupJob, Executed
from collage.serving._parts import Parts
from collage.serving._prepare import Prepared, Preparer
from collage.serving._roster import Roster
from collage.serving._scaling import follow_load
from collage.serving._seen import CollageSeen
from collage.serving._settings import ServingSettings
from collage.serving._story import QueryStory
from collage.serving.logs import current_request

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_INLINE_IMAGES = 16  # in one request, on the event loop
_THREADS = min(4, os.cpu_count() or 1)  # that decode


class DataPlane:
    """Models, workers, dispatcher and driver of one gateway.

    policy, by default that of the settings. engine: by default the workers that the settings name; one that is given is
    started and stopped with the plane, but may wrap workers that run already. hold: the least time of each job, seconds
    (`LocalEngine`). Models are loaded and checked at once: raises ModelError and SettingsError.

    on_answered: called with every answer given. on_collage: called with every collage that comes back, and again when
    one of its answers is given. on_settled: called with what became of each query. Callbacks run on the event loop and
    must be quick. beside: coroutines that run from the start until the plane stops. numbers: its queries' own;
    planes of one gateway share them.
    """

    def __init__(
        self,
        settings: ServingSettings,
        *,
        policy: Policy | None = None,
        engine: Engine | None = None,
        hold: Hold | None = None,
    ) -> None:
        self.hold = hold
        self.policy = policy or get_policy(settings.policy, **settings.policy_overrides)
        self.on_answered: list[Callable[[Classified], None]] = []
        self.on_collage: list[Callable[[CollageSeen], None]] = []
        self.on_settled: list[Callable[[QueryStory], None]] = []
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.numbers: Iterator[QueryId] = count(1)
        self._settings = settings
        self._parts = Parts(settings, self.policy)
        self.single = self._parts.single
        self.backup = self._parts.backup
        self.backups = self._parts.backups
        self._temperatures = {backup.card.role: backup.card.temperature for backup in reversed(self.backups)}
        self.dispatcher: Dispatcher = self._parts.dispatcher()
        self.engine: Engine = engine or self._parts.engine(hold)
        limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        tiles = [backup.card.preprocessing for backup in self.backups]
        digests = self.policy.share_repeats
        self._preparer = Preparer(self.single.card.preprocessing, tiles, limits, digests=digests)
        self._agreement = Agreement(self._parts.least_agreement())
        self.roster: Roster | None = None  # from the start on
        self.autoscaler = None if settings.scaling is None else Autoscaler(settings.scaling)
        self._beside: list[asyncio.Task[None]] = []
        self._driver: Driver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._queries = 0  # taken in and without an outcome
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether queries are answered: started, not stopping, and a worker is up."""
        return not self._stopping and self._driver is not None and bool(self._driver.workers_up)

    @property
    def in_flight(self) -> int:
        """Queries taken in and without an outcome yet."""
        return self._queries

    @property
    def max_queue(self) -> int:
        """Queries that may be taken in and without an outcome."""
        return self._settings.max_queue

    @property
    def workers_wanted(self) -> int:
        """Workers that should be up."""
        return len(self.engine.workers)

    @property
    def agreement(self) -> Agreement:
        """How often single and backup agreed, over the controls, and whether the backup is off."""
        return self._agreement

    def view(self) -> DispatchView:
        """The dispatcher at this moment. On the event loop only."""
        return self._driver.view() if self._driver else self.dispatcher.view(0.0)

    def running(self, worker: WorkerId) -> list[Source]:
        """What the worker's running jobs are."""
        return self._driver.running(worker) if self._driver else []

    @property
    def failures(self) -> Mapping[WorkerId, tuple[float, str]]:
        """Each worker's last failure: when (time.monotonic), and what was said of it."""
        return self._driver.failures if self._driver else {}

    @property
    def executed(self) -> Mapping[tuple[Source, int], Executed]:
        """Jobs that gave an output, by kind, and by queries in a job."""
        return self._driver.executed if self._driver else {}

    async def start(self) -> None:
        """Start the workers. Raises ModelError where none could load its models."""
        codes = self._parts.backup_codes()
        self._driver = Driver(
            self.dispatcher,
            self._parts.single_code(),
            codes,
            batch=self._parts.batch_code(),
            on_collage=self._saw,
            agreement=self._agreement,
            on_settled=self._settled,
            numbers=self.numbers,
        )
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="collage-decode")
        await self._driver.start(self.engine)
        self.roster = Roster(self._driver, self.engine, self._parts.added_roles())
        beside = [work() for work in self.beside]
        if self.autoscaler is not None:
            beside.append(follow_load(self.autoscaler, self.roster, self._driver))
        self._beside = [asyncio.create_task(work) for work in beside]

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Take nothing more in, let what is taken finish for so long, refuse the rest, stop the workers. Idempotent."""
        self._stopping = True
        for task in self._beside:
            task.cancel()
        if drain_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_seconds):
                    await self._idle.wait()
        if self._driver is not None:
            self._driver.close()
        await self.engine.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def classify(
        self,
        images: Sequence[ImageInput],
        *,
        deadline: float | None = None,
        accept_degraded: bool = True,
        key: str = "",
    ) -> list[Classified]:
        """The images' answers, in order. deadline: seconds from now; key: queries of different keys share no collage.

        Raises InvalidInput (nothing has been submitted then), Unavailable (too many queries in flight, or stopping) and
        DeadlineExceeded. To cancel the awaiting task cancels the queries.
        """
        if not images:
            raise InvalidInput("no images; send at least one", field="images")
        if deadline is not None and not 0 < deadline < math.inf:
            raise InvalidInput(f"{deadline}; a number of seconds above 0 is needed", field="deadline")
        driver = self._take_in(len(images))
        try:
            began = driver.now
            prepared = await self._prepare(images, deadline)
            if (notes := current_request.get()) is not None and notes.trace is not None:
                notes.trace.prepared(began, driver.now)
            if self._stopping:
                raise Unavailable("the service is stopping")
            submitted = driver.now
            until = None if deadline is None else began + deadline
            accept_degraded = accept_degraded and not self._agreement.backup_off
            results = [
                driver.submit(single, tiles, key=key, deadline=until, accept_degraded=accept_degraded, digest=digest)
                for single, tiles, digest in prepared
            ]
            try:
                return [self._classified(await result, began, submitted) for result in results]
            finally:
                for result in results:
                    result.cancel()  # those that are done do not mind
        finally:
            self._let_go(len(images))

    def _take_in(self, count: int) -> Driver:
        if self._driver is None or self._stopping:
            raise Unavailable("the service is not ready")
        most = self._settings.max_queue
        if self._queries + count > most:
            raise Unavailable(f"{self._queries} queries are in flight and {count} more would be too many (max {most})")
        self._queries += count
        self._idle.clear()
        return self._driver

    def _let_go(self, count: int) -> None:
        self._queries -= count
        if not self._queries:
            self._idle.set()

    async def _prepare(self, images: Sequence[ImageInput], deadline: float | None) -> list[Prepared]:
        """Tensors of all images. Small ones here, because to hand them over would take longer; others on threads."""
        fields = ["image"] if len(images) == 1 else [f"images[{index}]" for index in range(len(images))]
        done: dict[int, Prepared] = {}
        if len(images) <= _INLINE_IMAGES:
            for index, (image, field) in enumerate(zip(images, fields, strict=True)):
                if (light := self._preparer.prepare_light(image, field)) is not None:
                    done[index] = light
        if len(done) < len(images):
            left = [index for index in range(len(images)) if index not in done]
            try:
                async with asyncio.timeout(deadline):
                    done |= await self._prepare_on_threads(images, fields, left)
            except TimeoutError:
                raise _refusal(Why.DEADLINE) from None
        return [done[index] for index in range(len(images))]

    async def _prepare_on_threads(
        self, images: Sequence[ImageInput], fields: Sequence[str], left: Sequence[int]
    ) -> dict[int, Prepared]:
        """The tensors of the images `left`, by index."""
        prepare, loop = self._preparer.prepare, asyncio.get_running_loop()
        over = threading.Event()  # nobody waits for the rest: too late, the client gone, another image bad

        def work(share: Sequence[int]) -> list[tuple[int, Prepared]]:
            found = []
            for index in share:
                if self._stopping:
                    raise Unavailable("the service is stopping")
                if over.is_set():
                    break
                found.append((index, prepare(images[index], fields[index])))
            return found

        shares = [left[start::_THREADS] for start in range(min(_THREADS, len(left)))]
        try:
            found = await asyncio.gather(*(loop.run_in_executor(self._pool, work, share) for share in shares))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stopping and not (task and task.cancelling()):  # not the caller: the threads have gone
                raise Unavailable("the service is stopping") from None
            raise
        finally:
            over.set()
        return {index: prepared for share in found for index, prepared in share}

    def _classified(self, result: Answered | Why, began: float, submitted: float) -> Classified:
        if not isinstance(result, Answered):
            raise _refusal(result)
        index = int(result.scores.argmax())
        answer = Classified(
            scores=result.scores,
            label=self.single.card.classes[index],
            index=index,
            source=result.source,
            degraded=result.source.degraded,
            confidence=result.confidence,
            seconds=result.at - began,
            temperature=self._temperatures.get(result.source.role, self.single.card.temperature),
            stages=_stages(result, began, submitted),
        )
        _tell(self.on_answered, answer)
        return answer

    def _settled(self, story: QueryStory) -> None:
        _tell(self.on_settled, story)

    def _saw(self, backup: BackupJob) -> None:
        if self.on_collage and self.backup is not None:
            _tell(self.on_collage, CollageSeen.of(backup, self.backup.card.classes))


_REFUSALS = {
    Why.OVERLOAD: "too many queries are waiting",
    Why.FAILED: "every attempt at this query failed",
    Why.NO_WORKERS: "no worker is up",
    Why.CANCELLED: "the service is stopping",
}


def _stages(answer: Answered, began: float, submitted: float) -> Stages:
    """A job that is shared with an earlier query may have started, and ended, before this one was there."""
    started, ended = max(answer.started, submitted), max(answer.ended, submitted)
    return Stages(submitted - began, started - submitted, ended - started, answer.at - ended)


def _refusal(why: Why) -> Unavailable:
    if why is Why.DEADLINE:
        return DeadlineExceeded("no answer within the deadline")
    return Unavailable(_REFUSALS[why])


def _tell(callbacks: list[Callable[[_T], None]], news: _T) -> None:
    """A watcher that fails costs nobody an answer."""
    for callback in callbacks:
        try:
            callback(news)
        except Exception:
            _log.exception("a watcher failed")
