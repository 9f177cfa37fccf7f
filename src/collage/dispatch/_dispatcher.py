"""The state machine: events in, actions out. It does no I/O, reads no clock and sees no image.

The rules, which `tests/dispatch/test_machine.py` walks at random:

    1. Every query gets exactly one outcome, Answer or Reject, and then exactly one Settled.
    2. A query's first single starts as soon as a worker is free, first come first served; backups wait behind singles
       (unless the policy says beside) and start only for queries that have no outcome.
    3. Queries of different keys never share a job; one that refuses degraded answers is in none that gives such.
    4. A single's or replica's answer is given at once, a backup's when the policy accepts it, or when no single of the
       query runs any more.
    5. A job that fails, is lost with its worker or goes silent is covered by another single, a few times.
    6. Extra work is paid from the budget.
    7. A slot is free only when the engine has said so: completed, failed, freed, or the worker gone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from statistics import median

from collage.dispatch._budget import Budget
from collage.dispatch._events import (
    Action,
    Answer,
    Cancel,
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
from collage.dispatch._groups import Groups
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job, Query
from collage.dispatch._sketch import LatencySketch
from collage.dispatch._stats import DispatchStats, DispatchView, WorkerView
from collage.dispatch._watch import NEVER, Timers, Watch
from collage.dispatch._workers import Worker, WorkerPool


class Dispatcher:
    """Decides which job runs where, and which answer is given. Times are seconds on one clock that never goes back.

    capacity: queries that one job of the policy's code can hold. control_share: of queries, 0..1, whose losers are left
    to run to their end. max_queue: queries waiting for a worker, beyond which new ones are rejected.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        capacity: int = 1,
        control_share: float = 0.01,
        max_queue: int = 100_000,
        seed: int = 0,
    ) -> None:
        self.policy = policy
        self.stats = DispatchStats()
        self._capacity = capacity
        self._control_share = control_share
        self._max_queue = max_queue
        self._random = random.Random(seed)
        self._now = 0.0
        self._out: list[Action] = []
        self._queries: dict[QueryId, Query] = {}  # not settled
        self._jobs: dict[JobId, Job] = {}  # that take a slot
        self._last_job = 0
        self._pool = WorkerPool()
        self._queue: deque[tuple[Query, Source]] = deque()  # singles, and replicas beside them
        self._waiting = 0  # queries in it whose single has not started
        self._open = 0  # queries without an outcome
        self._groups = Groups(shared=capacity > 1)
        self._late: deque[Query] = deque()  # to be resent
        self._singles = LatencySketch(policy.memory)
        self._backups = LatencySketch(policy.memory)
        self._budget = Budget(policy.budget, policy.burst, self._singles)
        self._timers = Timers(self._timer_alive)
        self._silence: Watch[Job] = Watch(self._is_over)
        self._running_backups: Watch[Job] = Watch(self._is_over)
        self._refusing: Watch[Query] = Watch(lambda query: query.done)
        self._backup_failures = 0  # in a row
        self._backups_paused_until = 0.0
        self._nobody_since: float | None = None  # no worker for singles

    # Events.

    def submit(
        self, query: QueryId, key: str, deadline: float | None, accept_degraded: bool, now: float
    ) -> list[Action]:
        """A new query. Raises ValueError for an id that is in use."""
        if query in self._queries:
            raise ValueError(f"query {query} is there already")
        self.stats.submitted += 1
        control = self._random.random() < self._control_share
        new = self._queries[query] = Query(query, key, deadline, accept_degraded, control)
        self._open += 1
        self._waiting += 1
        if deadline is not None and deadline <= now:
            self._reject(new, Why.DEADLINE)
        elif self._waiting > self._max_queue:
            self._reject(new, Why.OVERLOAD)
        else:
            self._queue.append((new, Source.SINGLE))
            if self.policy.beside and self.policy.code is not None:
                self._queue.append((new, self.policy.code))
            if deadline is not None:
                self._timers.add(deadline, self._at_deadline, new)
        return self._go_on(now)

    def cancelled(self, query: QueryId, now: float) -> list[Action]:
        """Nobody waits for the query any more."""
        known = self._queries.get(query)
        if known is not None and not known.done:
            self._reject(known, Why.CANCELLED)
        return self._go_on(now)

    def worker(
        self, worker: WorkerId, state: WorkerState, roles: frozenset[Role], slots: int, now: float
    ) -> list[Action]:
        """A worker joins, is drained, or is gone."""
        if state is WorkerState.UP:
            self._pool.join(worker, roles, slots, now)
        elif state is WorkerState.DRAINING:
            if (known := self._pool.get(worker)) is not None:
                known.draining = True
                self._pool.update(known, now)
        elif (gone := self._pool.leave(worker)) is not None:
            for job in list(gone.jobs):
                self._lose(self._jobs.pop(job), now)
        return self._go_on(now)

    def completed(self, job: JobId, outcomes: Sequence[Outcome], now: float) -> list[Action]:
        """A job has ended, with one outcome per query of its Start. One that is not running is ignored."""
        ended = self._end(job, now)
        if ended is not None:
            worker = self._pool[ended.worker]
            worker.done += 1
            if ended.source.role is Role.SINGLE:
                worker.failures = 0
                worker.recent.append(now - ended.started)
                self._singles.add(now - ended.started)
            else:
                self._backup_failures = 0
                self._backups.add(now - ended.started)
            self._pay(ended, now)
            for position, (query, outcome) in enumerate(zip(ended.queries, outcomes, strict=True)):
                self._detach(query, ended)
                if query.done:
                    self.stats.late_answers += 1
                    self._settle(query)
                elif outcome.known:
                    self._offer(query, Answer(query.id, ended.source, outcome.confidence, job, position), now)
                else:
                    self.stats.unknown += 1
                    self._without(query, ended, now)
        return self._go_on(now)

    def failed(self, job: JobId, why: str, now: float) -> list[Action]:
        """A job gave no usable output; its worker lives and its slot is free."""
        ended = self._end(job, now)
        if ended is not None:
            worker = self._pool[ended.worker]
            worker.failed += 1
            policy = self.policy
            if ended.source.role is Role.SINGLE:
                worker.failures += 1
                pause = min(policy.backoff_most, policy.backoff * 2.0 ** (worker.failures - 1))
                worker.paused_until = now + pause
                self._pool.update(worker, now)
                self._timers.add(worker.paused_until, self._after_pause, worker)
            else:
                # A backup model that fails must not cost the singles their workers: it pauses itself.
                self._backup_failures += 1
                pause = min(policy.backoff_most, policy.backoff * 2.0 ** (self._backup_failures - 1))
                self._backups_paused_until = now + pause
                self._timers.add(self._backups_paused_until, self._after_pause, None)
            self._lose(ended, now)
        return self._go_on(now)

    def freed(self, job: JobId, now: float) -> list[Action]:
        """A cancelled job has stopped without output."""
        ended = self._end(job, now)
        if ended is not None:
            if ended.source.role is Role.SINGLE:
                # It would have taken longer still. It was cancelled because it was late, so for the quantiles that
                # lateness is measured by, this is as good as its real time.
                self._singles.add(now - ended.started)
            self._pay(ended, now)
            for query in ended.queries:
                self._detach(query, ended)
                if query.done:
                    self._settle(query)
                else:
                    self._without(query, ended, now)
        return self._go_on(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._go_on(now)

    @property
    def next_tick(self) -> float | None:
        """When `tick` should be called, if nothing happens before; None: need not."""
        when = min(
            self._timers.next,
            self._silence.next(self._silence_after),
            self._running_backups.next(self._backup_late_after),
            self._refusing.next(self._patience),
        )
        for head in self._groups.heads():
            wanted = self._wanted_at(head)
            # Those whose time has come wait for a worker or the budget, not for the clock.
            if self._now < wanted < when:
                when = wanted
        return None if when == NEVER else when

    # Time.

    def _go_on(self, now: float) -> list[Action]:
        """What is due, then what can start. Returns all actions since the event."""
        self._now = now
        self._timers.run(now)
        for job in self._silence.due(self._silence_after, now):
            self._go_silent(job, now)
        for job in self._running_backups.due(self._backup_late_after, now):
            for query in job.queries:
                self._second_line(query, now)
        for query in self._refusing.due(self._patience, now):
            self._second_line(query, now)
        self._start_singles(now)
        self._start_backups(now)
        out, self._out = self._out, []
        return out

    @property
    def _warm(self) -> bool:
        return self._singles.seen >= self.policy.warmup

    @property
    def _patience(self) -> float:
        """How long a single is preferred, from its start. Until it is learnt, as long as a silent job is waited for."""
        return self._singles.quantile(self.policy.patience_quantile) if self._warm else self.policy.silence_least

    @property
    def _trigger(self) -> float:
        """The age at which a backup is wanted."""
        if self.policy.trigger == "at_once":
            return 0.0
        return self._singles.quantile(self.policy.late_quantile) if self._warm else NEVER

    @property
    def _silence_after(self) -> float:
        policy = self.policy
        if not self._warm:
            return 10 * policy.silence_least
        return max(policy.silence_least, policy.silence * self._singles.quantile(0.5))

    @property
    def _backup_late_after(self) -> float:
        if not self.policy.second_line or not self._warm:
            return NEVER
        known = self._backups if self._backups.seen >= self.policy.warmup else self._singles
        return known.quantile(self.policy.second_quantile)

    @property
    def _backup_cost(self) -> float:
        return self._backups.mean if self._backups.seen and self._backup_has_model else self._singles.mean

    @property
    def _backup_has_model(self) -> bool:
        return self.policy.code is not None and self.policy.code.role is not Role.SINGLE

    def _wanted_at(self, query: Query) -> float:
        """When a backup of the query, the oldest of its group, is wanted: late enough, or just in time."""
        when = query.started + self._trigger
        if query.deadline is not None and self._warm:
            when = min(when, max(query.started, query.deadline - 2 * self._backup_cost))
        return when

    # Starting.

    def _start_singles(self, now: float) -> None:
        queue = self._queue
        while queue:
            query, source = queue[0]
            if query.done or (source is Source.SINGLE and not query.waiting):
                queue.popleft()
                continue
            worker = self._find_for(query)
            if worker is None:
                self._watch_for_workers(now)
                return
            cost = self._singles.mean
            if source is not Source.SINGLE and not self._affords(query, cost):
                queue.popleft()
                continue
            queue.popleft()
            self._start(worker, source, (query,), now, cost)
        self._nobody_since = None

    def _start_backups(self, now: float) -> None:
        late = self._late
        while late:
            query = late[0]
            if query.done or query.waiting:
                late.popleft()
                continue
            worker = self._find_for(query)
            if worker is None or not self._affords(query, self._singles.mean):
                break
            late.popleft()
            self.stats.resent += 1
            self._start(worker, Source.REPLICA, (query,), now, self._singles.mean)
        code = self.policy.code
        if code is None or self.policy.beside or self._backups_paused_until > now:
            return
        for group in self._groups:
            while group:
                head = next(iter(group.values()))
                full = self.policy.close_when_full and self._capacity > 1 and len(group) >= self._capacity
                if not full and self._wanted_at(head) > now:
                    break
                worker = self._pool.find(code.role) if self._capacity > 1 else self._find_for(head, code.role)
                if worker is None:
                    return
                if not self._affords(head, self._backup_cost):
                    return
                members = self._groups.take(group, self._capacity)
                for member in members:
                    member.grouped += 1
                self._start(worker, code, members, now, self._backup_cost)

    def _find_for(self, query: Query, role: Role = Role.SINGLE) -> Worker | None:
        """A free worker; rather not one that runs a job of this query already."""
        return self._pool.find(role, (lambda worker: not query.jobs.isdisjoint(worker.jobs)) if query.jobs else None)

    def _affords(self, query: Query, cost: float) -> bool:
        if self._budget.allows(cost):
            return True
        if not query.refused:
            query.refused = True
            self.stats.budget_exhausted += 1
        return False

    def _start(self, worker: Worker, source: Source, queries: tuple[Query, ...], now: float, cost: float) -> None:
        self._last_job += 1
        extra = source is not Source.SINGLE
        job = self._jobs[self._last_job] = Job(
            self._last_job, source, worker.id, queries, now, extra, cost if extra else 0.0
        )
        worker.jobs[job.id] = now
        self._pool.update(worker, now)
        self._silence.add(now, job)
        self.stats.started[source] += 1
        for query in queries:
            query.jobs.add(job.id)
            query.singles += source.role is Role.SINGLE
        if extra:
            self._budget.spend(cost)
            self.stats.backups_sent += 1
            self.stats.tiles_sent += len(queries)
            if source.degraded and self.policy.second_line:
                self._running_backups.add(now, job)
        else:
            self._first_single(queries[0], now)
        self._out.append(Start(job.id, worker.id, source, tuple(query.id for query in queries)))

    def _first_single(self, query: Query, now: float) -> None:
        query.attempts += 1
        query.waiting = False
        self._waiting -= 1
        if query.started >= 0 or self.policy.code is None or self.policy.beside:
            query.started = query.started if query.started >= 0 else now
            return
        query.started = now
        if query.accept_degraded or not self.policy.code.degraded:
            self._groups.add(query)
        elif self.policy.second_line:
            self._refusing.add(now, query)

    # Ending.

    def _end(self, job: JobId, now: float) -> Job | None:
        """The job's slot is free. None for a job that is not known: its worker was lost, or it is invented."""
        ended = self._jobs.pop(job, None)
        if ended is not None:
            worker = self._pool[ended.worker]
            worker.jobs.pop(job)
            worker.silent.discard(job)
            self._pool.update(worker, now)
        return ended

    def _pay(self, job: Job, now: float) -> None:
        seconds = now - job.started
        if job.extra:
            self.stats.extra_seconds += seconds
            self._budget.spend(seconds - job.cost)
        else:
            self.stats.single_seconds += seconds
            self._budget.earn(seconds)

    def _lose(self, job: Job, now: float) -> None:
        """It ended without output."""
        self.stats.failed[job.source] += 1
        self._pay(job, now)
        for query in job.queries:
            self._detach(query, job)
            if query.done:
                self._settle(query)
                continue
            if job.source is self.policy.code and job.source.degraded and query.grouped < self.policy.attempts:
                self._groups.put_back(query)
            self._without(query, job, now)

    def _detach(self, query: Query, job: Job) -> None:
        query.jobs.discard(job.id)
        if job.source.role is Role.SINGLE and not job.silent:
            query.singles -= 1

    def _go_silent(self, job: Job, now: float) -> None:
        """Nothing was heard of it for far too long: what it was to answer is covered, and its worker left alone."""
        worker = self._pool[job.worker]
        worker.silent.add(job.id)
        self._pool.update(worker, now)
        for query in job.queries:
            if job.source.role is Role.SINGLE:
                query.singles -= 1
        job.silent = True
        for query in job.queries:
            if not query.done:
                self._without(query, job, now)

    def _without(self, query: Query, job: Job, now: float) -> None:
        """This job gives this query nothing: cover a single by another, answer with what is held, or give up."""
        if job.source.degraded:
            self._second_line(query, now)
        if query.singles or query.waiting or query.done:
            return
        if query.held is not None:
            self._answer(query, query.held)
        elif query.attempts < self.policy.attempts:
            query.waiting = True
            self._waiting += 1
            self.stats.covered += 1
            self._queue.appendleft((query, Source.SINGLE))
        elif not query.jobs:
            self._reject(query, Why.FAILED)

    def _second_line(self, query: Query, now: float) -> None:
        """The backup is late too, or was of no use: resend the single once it is late."""
        if not self.policy.second_line or query.done or query.resent or query.waiting or query.held is not None:
            return
        due = query.started + self._patience
        if now < due:
            self._timers.add(due, self._second_line, query)
            return
        query.resent = True
        self._late.append(query)

    # Answering.

    def _offer(self, query: Query, answer: Answer, now: float) -> None:
        if self._accepts(query, answer, now):
            self._answer(query, answer)
        elif query.held is None:
            query.held = answer
            self._timers.add(query.started + self._patience, self._after_patience, query)

    def _accepts(self, query: Query, answer: Answer, now: float) -> bool:
        policy = self.policy
        if not answer.source.degraded or policy.accept == "first" or not (query.singles or query.waiting):
            return True
        if policy.accept == "confident" and answer.confidence >= policy.confidence:
            return True
        return now >= query.started + self._patience

    def _after_patience(self, query: Query, now: float) -> None:
        if query.done or query.held is None:
            return
        if self._accepts(query, query.held, now):
            self._answer(query, query.held)
        else:  # patience has grown meanwhile
            self._timers.add(query.started + self._patience, self._after_patience, query)

    def _at_deadline(self, query: Query, now: float) -> None:
        if query.done:
            return
        if query.held is not None:
            self._answer(query, query.held)
        else:
            self._reject(query, Why.DEADLINE)

    def _answer(self, query: Query, answer: Answer) -> None:
        self.stats.answered[answer.source] += 1
        self.stats.backups_won += answer.source is not Source.SINGLE
        self._out.append(answer)
        self._close(query)

    def _reject(self, query: Query, why: Why) -> None:
        self.stats.rejected[why] += 1
        self._out.append(Reject(query.id, why))
        query.control = False  # there is nothing to compare with
        self._close(query)

    def _close(self, query: Query) -> None:
        """It has its outcome: nothing more starts for it, and what runs for nobody else is cancelled."""
        query.done = True
        query.held = None
        self._open -= 1
        if query.waiting:
            query.waiting = False
            self._waiting -= 1
        self._groups.remove(query)
        for number in query.jobs:
            job = self._jobs[number]
            if not job.cancelled and all(other.done and not other.control for other in job.queries):
                job.cancelled = True
                self._out.append(Cancel(number))
        self._settle(query)

    def _settle(self, query: Query) -> None:
        """Say so once; a control's losers are waited for."""
        if query.id in self._queries and not (query.control and query.jobs):
            del self._queries[query.id]
            self._out.append(Settled(query.id, query.control))

    # Watching.

    def _is_over(self, job: Job) -> bool:
        return job.id not in self._jobs

    def _timer_alive(self, what: object) -> bool:
        if isinstance(what, Query):
            return not what.done
        return not isinstance(what, Worker) or self._pool.get(what.id) is what

    def _after_pause(self, worker: Worker | None, now: float) -> None:
        if worker is not None:
            self._pool.update(worker, now)

    def _watch_for_workers(self, now: float) -> None:
        """Nobody is free. Where nobody is even there, queries fail after a while."""
        if self._pool.can(Role.SINGLE):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
            self._timers.add(now + self.policy.grace, self._give_up, None)
        elif now >= self._nobody_since + self.policy.grace:
            self._give_up(None, now)

    def _give_up(self, _nothing: None, now: float) -> None:
        since = self._nobody_since
        if since is None or now < since + self.policy.grace or self._pool.can(Role.SINGLE):
            return
        queue, self._queue = self._queue, deque()
        for query, _ in queue:
            if not query.done and query.waiting:
                self._reject(query, Why.NO_WORKERS)

    def view(self, now: float) -> DispatchView:
        """The moment, for metrics and pages."""
        usual = self._singles.quantile(0.5) if self._warm else None
        patience = self._patience if self._warm and self.policy.code is not None else None
        trigger = self._trigger if self.policy.code is not None else NEVER
        return DispatchView(
            waiting=self._waiting,
            in_flight=self._open,
            patience=patience if self.policy.accept != "first" else None,
            trigger=None if trigger == NEVER else trigger,
            balance=self._budget.balance,
            workers=tuple(_view(worker, usual, now) for worker in self._pool),
        )


def _view(worker: Worker, usual: float | None, now: float) -> WorkerView:
    if worker.draining:
        state = "draining"
    elif worker.silent:
        state = "silent"
    elif worker.paused_until > now:
        state = "pausing"
    else:
        state = "busy" if worker.jobs else "idle"
    return WorkerView(
        worker=worker.id,
        state=state,
        roles=worker.roles,
        slots=worker.slots,
        jobs=len(worker.jobs),
        running=max((now - started for started in worker.jobs.values()), default=0.0),
        speed=usual / max(1e-9, median(worker.recent)) if usual and worker.recent else None,
        done=worker.done,
        failed=worker.failed,
    )
