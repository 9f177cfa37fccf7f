"""The dispatcher, driven by an event loop and real workers.

The dispatcher decides; here are the things it never sees. The driver keeps each query's tensors from submission until
it is settled, makes the input of each job as the job starts, turns outputs into answers, resolves one future per query,
and wakes the dispatcher when it wants to be woken.

Events are handled one after the other: what an action brings about (an engine that refuses a job, say) waits until all
actions before it are done. Whatever a worker sends, nothing here raises into the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import Context
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collage.codes import Code, TileAnswer
from collage.dispatch import (
    Action,
    Answer,
    Cancel,
    Decode,
    JobId,
    Outcome,
    QueryId,
    Reject,
    Role,
    Settled,
    Source,
    Start,
    Why,
    WorkerId,
    WorkerState,
)
from collage.engines import Engine, Submission
from collage.serving._agreement import Agreement
from collage.serving._clock import LoopClock
from collage.serving._coding import Coding
from collage.serving._drains import Drains
from collage.serving._joints import Joints
from collage.serving._kept import Answered, BackupJob, Clock, Executed, Job, Query, Result, Timer
from collage.serving._story import JobStory, QueryStory
from collage.serving.logs import current_request

if TYPE_CHECKING:
    from collage.dispatch import Dispatcher, DispatchView

FloatArray = NDArray[np.float32]

_log = logging.getLogger(__name__)

_WORDS = 200  # characters that are kept of what a worker says of its failure


class Driver:
    """One dispatcher's driver. All calls are made on the event loop's thread; `start` comes first.

    single: decodes the single's outputs (a replica code). backups: the policy's codes with models of their own, one
    for each size. batch: decodes what one call gives of several singles, where the dispatcher makes such. clock: by
    default the monotonic one. on_collage: told when a collage has come back, and again whenever one of its answers is
    given. agreement: told of every control that both single and backup have answered. on_settled: told what became of
    each query, once that is over; jobs that nobody waits for may still run then. numbers: its queries' own, in order;
    from 1 on, unless drivers share them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        single: Code,
        backups: Sequence[Code] = (),
        *,
        batch: Code | None = None,
        clock: Clock | None = None,
        on_collage: Callable[[BackupJob], None] | None = None,
        agreement: Agreement | None = None,
        on_settled: Callable[[QueryStory], None] | None = None,
        numbers: Iterator[QueryId] | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.agreement = agreement or Agreement()
        self.workers_up: dict[WorkerId, tuple[frozenset[Role], int]] = {}  # their roles and slots
        self.drains = Drains(lambda worker: len(self.running(worker)))
        self.failures: dict[WorkerId, tuple[float, str]] = {}  # each worker's last: when, on the clock, and what
        self.executed: dict[tuple[Source, int], Executed] = {}  # by kind, and by queries in a job
        self._coding = Coding(single, backups, batch)
        self._clock: Clock = clock or LoopClock()
        self._on_collage = on_collage
        self._on_settled = on_settled
        self._engine: Engine | None = None
        self._queries: dict[QueryId, Query] = {}
        self._jobs: dict[JobId, Job] = {}
        self._collages: dict[JobId, BackupJob] = {}  # those with a query that is not settled
        self._joints = Joints(self._coding, self._queries)
        self._numbers = count(1) if numbers is None else numbers
        self._events: deque[tuple[Callable[..., Iterable[Action]], tuple[Any, ...]]] = deque()
        self._working = False
        self._context = Context()
        self._timer: Timer | None = None
        self._wakes_at = 0.0

    # Above: whoever asks.

    @property
    def now(self) -> float:
        """The time on its clock, seconds."""
        return self._clock.time()

    def running(self, worker: WorkerId) -> list[Source]:
        """What the worker's running jobs are."""
        return [job.source for job in self._jobs.values() if job.worker == worker]

    def view(self) -> DispatchView:
        """The dispatcher at this moment."""
        return self.dispatcher.view(self.now)

    def drain(self, worker: WorkerId) -> None:
        """Give it nothing new, not even after a restart, until it is resumed."""
        self.drains.begin(worker)
        self._handle(self.dispatcher.worker, worker, WorkerState.DRAINING, frozenset(), 0)

    def resume(self, worker: WorkerId) -> None:
        """A worker that drains may be given jobs again."""
        self.drains.end(worker)
        if worker in self.workers_up:
            self._handle(self.dispatcher.worker, worker, WorkerState.UP, *self.workers_up[worker])

    async def start(self, engine: Engine) -> None:
        """Start the engine and listen to it. Raises ModelError as the engine does."""
        self._engine = engine
        await engine.start(self)

    def submit(
        self,
        single: FloatArray,
        tiles: Sequence[FloatArray] = (),
        *,
        key: str = "",
        deadline: float | None = None,
        accept_degraded: bool = True,
        digest: bytes | None = None,
    ) -> asyncio.Future[Result]:
        """A query: its tensor (C, H, W) for the single and, where backups take others, for each backup code in order.

        deadline: on the clock. digest: of the image, where the query may share its jobs. The future gives the answer,
        or why there is none; to cancel it cancels the query.
        """
        query = next(self._numbers)
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        result.add_done_callback(partial(self._taken, query))
        notes, story = current_request.get(), QueryStory(query, self._clock.time())
        if notes is not None and notes.trace is not None:
            story.trace = notes.trace.query(story.entered)
        self._queries[query] = Query(single, tiles, result, story, "" if notes is None else notes.id)
        submit = self.dispatcher.submit if digest is None else partial(self.dispatcher.submit, digest=digest)
        self._handle(submit, query, key, deadline, accept_degraded)
        return result

    def close(self) -> None:
        """Every query still without an outcome is cancelled, and nothing that the engine says is heard any more."""
        now, queries, jobs = self._clock.time(), list(self._queries.values()), list(self._jobs.values())
        self._engine = None
        self._queries.clear()
        self._jobs.clear()
        self._collages.clear()
        self._joints.clear()
        self.workers_up.clear()
        if self._timer is not None:
            self._timer.cancel()
        for job in jobs:
            job.story.end(now, "running")  # and nobody will hear what comes of it
        for query in queries:
            if query.story.at is None:
                query.story.end(now, Why.CANCELLED)
            self._resolve(query, Why.CANCELLED)
            if self._on_settled is not None:
                self._on_settled(query.story)

    def _taken(self, query: QueryId, result: asyncio.Future[Result]) -> None:
        if result.cancelled() and query in self._queries:
            self._handle(self.dispatcher.cancelled, query)

    # Below: what the engine says.

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        """A worker is ready."""
        if self._engine is not None:
            self.workers_up[worker] = roles, slots
            if worker in self.drains:  # it was restarted, and still gets nothing
                return
            self._handle(self.dispatcher.worker, worker, WorkerState.UP, roles, slots)

    def worker_down(self, worker: WorkerId, why: str) -> None:
        """A worker is gone, and what it ran with it."""
        if self._engine is not None:
            self.workers_up.pop(worker, None)
            for number in [number for number, job in self._jobs.items() if job.worker == worker]:
                self._jobs.pop(number).story.end(self._clock.time(), "lost")
            self._failed(worker, why)
            self._handle(self.dispatcher.worker, worker, WorkerState.DOWN, frozenset(), 0)

    def job_completed(self, job: JobId, output: FloatArray, seconds: float) -> None:
        """An output: decoded here, because only here is it known whose it is."""
        kept = self._jobs.pop(job, None)
        if kept is None:
            return
        kept.story.back = self._clock.time()
        done = self.executed.setdefault((kept.source, len(kept.queries)), Executed())
        done.count += 1
        done.seconds += seconds
        try:
            answers = self._coding.decode(kept, output)
            kept.story.end(self._clock.time(), "done")
        except Exception as error:  # a ValueError says what is wrong; any other must not cost the queries either
            kept.story.end(self._clock.time(), "failed")
            self._failed(kept.worker, f"unusable output of a {kept.source}: {error}")
            text = "worker %s: unusable output of a %s: %s"
            _log.warning(text, kept.worker, kept.source, error, extra=self._concerning(kept))
            self._handle(self.dispatcher.failed, job, str(error))
            return
        if kept.source.joint:
            self._joints.keep(job, kept, output)
            self._handle(self.dispatcher.completed, job, ())
            return
        for position, answer in answers.items():
            query = self._queries.get(kept.queries[position])
            if query is not None:
                query.answers[job] = (kept, answer)
        seen = None if kept.canvas is None else self._keep_collage(job, kept, kept.canvas, answers)
        outcomes = tuple(
            Outcome(True, answers[position].confidence) if position in answers else Outcome(False, 0.0)
            for position in range(len(kept.queries))
        )
        self._handle(self.dispatcher.completed, job, outcomes)
        if seen is not None:
            self._show(seen)

    def job_failed(self, job: JobId, why: str) -> None:
        """No usable output."""
        if (kept := self._jobs.pop(job, None)) is not None:
            kept.story.end(self._clock.time(), "failed")
            self._failed(kept.worker, f"a {kept.source}: {why}")
            self._handle(self.dispatcher.failed, job, why)

    def job_freed(self, job: JobId) -> None:
        """A cancelled job has stopped."""
        if (kept := self._jobs.pop(job, None)) is not None:
            kept.story.end(self._clock.time(), "cancelled")
            self._handle(self.dispatcher.freed, job)

    def _failed(self, worker: WorkerId, why: str) -> None:
        there = () if self._engine is None else self._engine.workers
        self.failures = {name: last for name, last in self.failures.items() if name in there}
        if worker in there:  # else it has been taken away, which is no failure
            self.failures[worker] = self._clock.time(), why[:_WORDS]

    # Between: events in, actions out.

    def _handle(self, event: Callable[..., Iterable[Action]], *details: Any) -> None:
        self._events.append((event, details))
        if not self._working:
            self._context.run(self._work)
            if self.drains:
                self._context.copy().run(self.drains.look)  # which may come back here

    def _work(self) -> None:
        """All events that wait. Not in the context of whoever brought them: they may concern other requests."""
        self._working = True
        try:
            while self._events:
                event, details = self._events.popleft()
                for action in event(*details, self._clock.time()):
                    try:
                        self._act(action)
                    except Exception:  # whoever waits for another action must not pay for this one
                        _log.exception("could not carry out %s", action)
        finally:
            self._working = False
            self._set_timer()

    def _act(self, action: Action) -> None:
        match action:
            case Start():
                self._start(action)
            case Answer(query, source, confidence, job):
                owner = self._queries[query if action.of is None else action.of]
                kept, found = owner.answers[job]
                now, back = self._clock.time(), kept.story.back
                times = now, kept.story.began, now if back is None else back
                answered = Answered(found.scores, confidence, source, *times)
                self._queries[query].story.end(now, source, job, action.of)
                self._resolve(self._queries[query], answered)
                if (seen := self._collages.get(job)) is not None:
                    seen.used.add(action.position)
                    self._show(seen)
            case Decode(job, position):
                self._handle(self.dispatcher.decoded, job, position, self._joints.read(job, position))
            case Reject(query, why):
                self._queries[query].story.end(self._clock.time(), why)
                self._resolve(self._queries[query], why)
            case Cancel(job):
                if self._engine is not None and job in self._jobs:
                    self._engine.cancel(job)
            case Settled(query, control):
                self._settle(self._queries.pop(query), control)

    def _start(self, start: Start) -> None:
        story = JobStory(start.job, start.source, start.worker, len(start.queries), self._clock.time())
        job = self._jobs[start.job] = Job(start.source, start.worker, start.queries, start.capacity, story)
        for query in start.queries:
            if (kept := self._queries.get(query)) is not None:
                kept.story.jobs.append(story)
                if kept.story.trace is not None:
                    story.traces += (kept.story.trace,)
        try:
            index, code = self._coding.of(job)
            inputs = code.encode([self._tensor(query, index) for query in start.queries])  # (1, C, H, W)
            story.sent = self._clock.time()
            if start.source is Source.COLLAGE and self._on_collage is not None:
                job.canvas = inputs
            assert self._engine is not None
            headers = story.traces[0].begin(story) if story.traces else None
            role = start.source.role
            self._engine.submit(Submission(start.job, start.worker, role, inputs, start.capacity, headers))
        except Exception as error:  # a job that cannot even be sent must not cost its queries their answers
            text = "worker %s: a %s could not be started"
            _log.exception(text, start.worker, start.source, extra=self._concerning(job))
            self.job_failed(start.job, f"it could not be started: {error}")

    def _tensor(self, query: QueryId, index: int | None) -> FloatArray | None:
        kept = self._queries.get(query)
        if kept is None:
            return None
        return kept.single if index is None or not kept.tiles else kept.tiles[index]

    def _concerning(self, job: Job) -> dict[str, Any]:
        """For a line in the log: the requests whose queries are in the job."""
        queries = (self._queries.get(query) for query in job.queries)
        return {"fields": {"requests": sorted({query.request for query in queries if query is not None})}}

    def _resolve(self, query: Query, result: Result) -> None:
        if not query.result.done():  # it may have been cancelled a moment ago
            query.result.set_result(result)

    def _settle(self, query: Query, control: bool) -> None:
        if control:
            single = [answer for job, answer in query.answers.values() if not job.source.degraded]
            backup = [answer for job, answer in query.answers.values() if job.source.degraded]
            if single and backup:
                self.agreement.add(bool(single[0].scores.argmax() == backup[0].scores.argmax()))
        query.story.control = control
        if self._on_settled is not None:
            self._on_settled(query.story)
        self._joints.settled(query)
        for job in query.collages:
            seen = self._collages[job]
            if not any(other in self._queries for other in seen.queries):
                del self._collages[job]

    def _keep_collage(self, job: JobId, kept: Job, canvas: FloatArray, answers: dict[int, TileAnswer]) -> BackupJob:
        """Keep it for watchers until the last of its queries is settled."""
        seen = BackupJob(job, canvas, kept.queries, answers, kept.capacity)
        for query in kept.queries:
            if (member := self._queries.get(query)) is not None:
                member.collages.append(job)
                self._collages[job] = seen
        return seen

    def _show(self, seen: BackupJob) -> None:
        if self._on_collage is not None:
            self._on_collage(seen)

    def _set_timer(self) -> None:
        when = self.dispatcher.next_tick
        if when is None or (self._timer is not None and self._wakes_at <= when):
            return  # a timer that comes too early costs one look at the clock, less than making a new one each time
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._clock.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._handle(self.dispatcher.tick)
