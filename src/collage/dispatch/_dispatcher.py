"""The state machine: events in, actions out. It does no I/O, reads no clock and sees no image.

The rules, which `tests/dispatch/test_machine.py` walks at random:

    1. Every query gets exactly one outcome, Answer or Reject, and then exactly one Settled.
    2. A query's first single starts as soon as a worker is free, first come first served. Backups start only for
       queries without an outcome, and wait behind singles until patience with their oldest query has ended (unless the
       policy says beside, or not to overtake): a few late queries then weigh more than a little wait for all.
    3. Queries of different keys never share a job; one that refuses degraded answers is in none that gives such.
    4. A single's or replica's answer is given at once, a backup's when the policy accepts it, when no single of the
       query runs any more, or at the deadline.
    5. A job that fails, is lost with its worker or goes silent is covered by another single, a few times.
    6. Extra work is paid from the budget.
    7. A joint backup (parity, learned) starts for a full group only, and answers when singles have answered all others.
    8. A slot is free only when the engine has said so: completed, failed, freed, or the worker gone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from operator import itemgetter

from collage.dispatch._budget import Budget
from collage.dispatch._events import (
    Action,
    Answer,
    JobId,
    Outcome,
    QueryId,
    Role,
    Source,
    Why,
    WorkerId,
    WorkerState,
)
from collage.dispatch._joint import Joints
from collage.dispatch._learnt import Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job, Query
from collage.dispatch._stats import DispatchStats, DispatchView
from collage.dispatch._watch import NEVER, Timers, Watch
from collage.dispatch._workers import Worker


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
        self._capacity = capacity
        self._control_share = control_share
        self._max_queue = max_queue
        self._random = random.Random(seed)
        self._now = 0.0
        self._learnt = Learnt(policy)
        self._ledger = Ledger(Budget(policy.budget, policy.burst, self._learnt.singles), shared_jobs=capacity > 1)
        self._joints = Joints(self._ledger, self._without)
        self._resends: deque[Query] = deque()
        self._timers = Timers(self._timer_alive)
        self._running: Watch[Job] = Watch(self._ledger.is_over)
        self._backups: Watch[Job] = Watch(self._ledger.is_over)  # that a second line may follow
        self._patient: Watch[Query] = Watch(lambda query: query.done)  # started, where there is a second line
        self._backup_failures = 0  # in a row
        self._backups_paused_until = 0.0
        self._nobody_since: float | None = None  # no worker for singles

    # Events.

    def submit(
        self, query: QueryId, key: str, deadline: float | None, accept_degraded: bool, now: float
    ) -> list[Action]:
        """A new query. Raises ValueError for an id that is in use."""
        ledger = self._ledger
        control = self._random.random() < self._control_share
        new = Query(query, key, deadline, accept_degraded, control)
        ledger.enter(new)
        if deadline is not None and deadline <= now:
            ledger.reject(new, Why.DEADLINE)
        elif ledger.waiting > self._max_queue:
            ledger.reject(new, Why.OVERLOAD)
        else:
            ledger.queue.append((new, Source.SINGLE))
            if self.policy.beside and self.policy.code is not None:
                ledger.queue.append((new, self.policy.code))
            if deadline is not None:
                self._timers.add(deadline, self._at_deadline, new)
        return self._go_on(now)

    def cancelled(self, query: QueryId, now: float) -> list[Action]:
        """Nobody waits for the query any more."""
        known = self._ledger.queries.get(query)
        if known is not None and not known.done:
            self._ledger.reject(known, Why.CANCELLED)
        return self._go_on(now)

    def hurry(self, query: QueryId, now: float) -> list[Action]:
        """Its single is known to straggle: its backup is wanted now. For drivers that can foresee it (a simulation)."""
        known = self._ledger.queries.get(query)
        if known is not None and not known.done:
            self._hurry(known, now)
        return self._go_on(now)

    def worker(
        self, worker: WorkerId, state: WorkerState, roles: frozenset[Role], slots: int, now: float
    ) -> list[Action]:
        """A worker joins, is drained, or is gone."""
        pool = self._ledger.pool
        if state is WorkerState.UP:
            pool.join(worker, roles, slots, now)
        elif state is WorkerState.DRAINING:
            pool.drain(worker, now)
        elif (gone := pool.leave(worker)) is not None:
            for number in list(gone.jobs):
                job = self._ledger.jobs.pop(number)
                self._pause_backups(job, now)
                self._lose(job, now)
        return self._go_on(now)

    def completed(self, job: JobId, outcomes: Sequence[Outcome], now: float) -> list[Action]:
        """A job has ended, with one outcome per query of its Start. One that is not running is ignored.

        A joint job's outcomes are not looked at: what can be read of it is asked for by `Decode`.
        """
        found = self._ledger.end(job, now)
        if found is not None:
            ended, worker = found
            worker.done += 1
            if ended.source.role is Role.SINGLE:
                worker.failures = 0
                worker.recent.append(ended.seconds(now))
            else:
                self._backup_failures = 0
            self._learnt.observe(ended, ended.seconds(now))
            self._ledger.pay(ended, now)
            if ended.source.joint:
                for query in ended.queries:
                    self._ledger.detach(query, ended)
                self._joints.arrived(ended, now)
                return self._go_on(now)
            for position, (query, outcome) in enumerate(zip(ended.queries, outcomes, strict=True)):
                query.answered |= outcome.known and not ended.source.degraded
                self._ledger.detach(query, ended)
                self._receive(query, ended, position, outcome, now)
        return self._go_on(now)

    def decoded(self, job: JobId, position: int, outcome: Outcome, now: float) -> list[Action]:
        """What came of a `Decode`. One that was not asked for is ignored."""
        found = self._joints.decoded(job, position)
        if found is not None:
            query, read = found
            self._receive(query, read, position, outcome, now)
        return self._go_on(now)

    def failed(self, job: JobId, why: str, now: float) -> list[Action]:
        """A job gave no usable output; its worker lives and its slot is free."""
        found = self._ledger.end(job, now)
        if found is not None:
            ended, worker = found
            worker.failed += 1
            if ended.source.role is Role.SINGLE:
                worker.failures += 1
                worker.paused_until = now + self._pause(worker.failures)
                self._ledger.pool.update(worker, now)
                self._timers.add(worker.paused_until, self._after_pause, worker)
            self._pause_backups(ended, now)
            self._lose(ended, now)
        return self._go_on(now)

    def freed(self, job: JobId, now: float) -> list[Action]:
        """A cancelled job has stopped without output."""
        found = self._ledger.end(job, now)
        if found is not None:
            ended, _ = found
            self._learnt.observe_cancelled(ended, ended.seconds(now))
            self._ledger.pay(ended, now)
            self._forget(ended)
            for query in ended.queries:
                self._ledger.detach(query, ended)
                if query.done:
                    self._ledger.settle(query)
                else:
                    self._without(query, ended, now)
        return self._go_on(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._go_on(now)

    @property
    def next_tick(self) -> float | None:
        """When `tick` should be called, if nothing happens before; None: need not."""
        learnt = self._learnt
        when = min(
            self._timers.next,
            self._running.next(learnt.silence),
            self._backups.next(learnt.backup_late),
            self._patient.next(learnt.patience),
        )
        for head, _ in self._ledger.groups.heads():
            wanted = learnt.wanted_at(head)
            # Those whose time has come wait for a worker or the budget, not for the clock.
            if self._now < wanted < when:
                when = wanted
        return None if when == NEVER else when

    # What has been, and what is.

    @property
    def stats(self) -> DispatchStats:
        """Counts since the start."""
        return self._ledger.stats

    def view(self, now: float) -> DispatchView:
        """The moment, for metrics and pages."""
        learnt, policy = self._learnt, self.policy
        known = policy.code is not None and learnt.warm
        usual = learnt.singles.quantile(0.5) if learnt.warm else None
        return DispatchView(
            waiting=self._ledger.waiting,
            in_flight=self._ledger.open,
            patience=learnt.patience if known and policy.accept != "first" else None,
            trigger=learnt.trigger if known else None,
            balance=self._ledger.budget.balance,
            workers=tuple(worker.view(usual, now) for worker in self._ledger.pool),
        )

    # Starting.

    def _go_on(self, now: float) -> list[Action]:
        """What is due, then what can start. Returns all actions since the event."""
        self._now = now
        learnt = self._learnt
        self._timers.run(now)
        for job in self._running.due(learnt.silence, now):
            self._go_silent(job, now)
        for job in self._backups.due(learnt.backup_late, now):
            for query in job.queries:
                self._second_line(query, now)
        for query in self._patient.due(learnt.patience, now):
            if not self._may_be_covered(query, now):
                self._second_line(query, now)
        self._joints.look(now)
        if self.policy.overtake:
            self._start_backups(now, learnt.patience)
        self._start_singles(now)
        self._start_resends(now)
        self._start_backups(now)
        self._joints.look(now)
        return self._ledger.take_actions()

    def _start_singles(self, now: float) -> None:
        queue = self._ledger.queue
        while queue:
            query, source = queue[0]
            if query.done or (source is Source.SINGLE and not query.waiting):
                queue.popleft()
                continue
            worker = self._find_for(query)
            if worker is None:
                self._watch_for_workers(now)
                return
            queue.popleft()
            cost = self._learnt.singles.mean
            if source is Source.SINGLE or self._affords(query, cost):
                self._start(worker, source, (query,), now, cost)
        self._nobody_since = None

    def _start_resends(self, now: float) -> None:
        while self._resends:
            query = self._resends[0]
            if not query.done and not query.waiting:
                worker, cost = self._find_for(query), self._learnt.singles.mean
                if worker is None or not self._affords(query, cost):
                    return
                self._ledger.stats.resent += 1
                self._start(worker, Source.REPLICA, (query,), now, cost)
            self._resends.popleft()

    def _start_backups(self, now: float, age: float = 0.0) -> None:
        """Of the groups that want one, the one with the oldest query first; `age`: only queries at least that old."""
        code = self.policy.code
        if code is None or self.policy.beside or self._backups_paused_until > now:
            return
        while wanting := [(head.started, head, group) for head, group in self._ledger.groups.heads()
                          if now >= head.started + age and self._wants_backup(head, len(group), now)]:  # fmt: skip
            _, head, group = min(wanting, key=itemgetter(0))
            worker, cost = self._find_for(head, code.role), self._learnt.backup_cost
            if worker is None or not self._affords(head, cost):
                return
            members = self._ledger.groups.take(group, self._capacity)
            for member in members:
                member.grouped += 1
            self._start(worker, code, members, now, cost)

    def _wants_backup(self, head: Query, size: int, now: float) -> bool:
        """A group is full, or the query at its head is late, or its deadline near."""
        code = self.policy.code
        if code is not None and code.joint and size < self._capacity:
            return False
        full = self.policy.close_when_full and 1 < self._capacity <= size and self._learnt.warm
        return full or self._learnt.wanted_at(head) <= now

    def _find_for(self, query: Query, role: Role = Role.SINGLE) -> Worker | None:
        """A free worker; rather not one that runs a job of this query already."""
        avoid = (lambda worker: not query.jobs.isdisjoint(worker.jobs)) if query.jobs else None
        return self._ledger.pool.find(role, avoid)

    def _affords(self, query: Query, cost: float) -> bool:
        if self._ledger.budget.allows(cost):
            return True
        if not query.refused:
            query.refused = True
            self._ledger.stats.budget_exhausted += 1
        return False

    def _start(self, worker: Worker, source: Source, queries: tuple[Query, ...], now: float, cost: float) -> None:
        job = self._ledger.start(worker, source, queries, now, cost)
        self._running.add(now, job)
        code = self.policy.code
        if source.degraded and self.policy.second_line:
            self._backups.add(now, job)
        elif source is Source.SINGLE and queries[0].started < 0:
            (query,) = queries
            query.started = now
            if code is None or self.policy.beside:
                return
            if query.accept_degraded or not code.degraded:
                self._ledger.groups.add(query)
                last = self._learnt.last_moment(query)
                if last <= now:
                    self._hurry(query, now)
                elif last != NEVER:
                    self._timers.add(last, self._hurry, query)
            if self.policy.second_line:
                self._patient.add(now, query)

    # Ending without an answer.

    def _lose(self, job: Job, now: float) -> None:
        """It ended without output."""
        ledger = self._ledger
        ledger.stats.failed[job.source] += 1
        ledger.pay(job, now)
        self._forget(job)
        for query in job.queries:
            ledger.detach(query, job)
            if query.done:
                ledger.settle(query)
                continue
            if job.source is self.policy.code and job.source.degraded and query.grouped < self.policy.attempts:
                ledger.groups.put_back(query)
            self._without(query, job, now)

    def _forget(self, job: Job) -> None:
        """It has ended without output, so nothing can be read of it."""
        if job.kept:
            job.kept = False
            self._joints.release(job)

    def _go_silent(self, job: Job, now: float) -> None:
        """Nothing was heard of it for far too long: what it was to answer is covered, and its worker left alone."""
        self._ledger.silence(job, now)
        self._pause_backups(job, now)
        for query in job.queries:
            if not query.done:
                self._without(query, job, now)

    def _without(self, query: Query, job: Job, now: float) -> None:
        """This job gives this query nothing: cover a single by another, answer with what is held, or give up."""
        if job.source.degraded:
            self._second_line(query, now)
        if query.singles or query.waiting:
            return
        if query.held is not None:
            self._ledger.answer(query, query.held)
        elif query.attempts < self.policy.attempts:
            self._ledger.requeue(query)
        elif not query.jobs and not query.joints:
            self._ledger.reject(query, Why.FAILED)

    def _may_be_covered(self, query: Query, now: float) -> bool:
        """Whether a backup of the policy's code has, or may still get, the query."""
        code = self.policy.code
        if code is None or (code.degraded and not query.accept_degraded):
            return False
        if code.joint:  # a group may never be full
            return query.grouped > 0
        return query.grouped > 0 or (now >= self._backups_paused_until and self._ledger.pool.can(code.role))

    def _second_line(self, query: Query, now: float) -> None:
        """The backup is late too, or of no use: resend the single, once it is late."""
        if not self.policy.second_line or query.done or query.resent or query.waiting or query.held is not None:
            return
        if not self._learnt.warm:
            return  # nothing is called late yet
        due = query.started + self._learnt.patience
        if now < due:
            self._timers.add(due, self._second_line, query)
            return
        query.resent = True
        self._resends.append(query)

    def _pause_backups(self, job: Job, now: float) -> None:
        """After a backup that failed, vanished or went silent: its model must not cost the singles their workers."""
        if job.source.role is Role.SINGLE:
            return
        self._backup_failures += 1
        self._backups_paused_until = now + self._pause(self._backup_failures)
        self._timers.add(self._backups_paused_until, self._after_pause, None)

    def _pause(self, failures: int) -> float:
        return min(self.policy.backoff_most, self.policy.backoff * 2.0 ** min(failures - 1, 60))

    # Answering.

    def _receive(self, query: Query, job: Job, position: int, outcome: Outcome, now: float) -> None:
        """What this job gave this query: too late, an answer to accept or hold, or nothing known."""
        if query.done:
            self._ledger.stats.late_answers += 1
            self._ledger.settle(query)
        elif outcome.known:
            self._offer(query, Answer(query.id, job.source, outcome.confidence, job.id, position), now)
        else:
            self._ledger.stats.unknown += 1
            self._without(query, job, now)

    def _offer(self, query: Query, answer: Answer, now: float) -> None:
        if self._accepts(query, answer, now):
            self._ledger.answer(query, answer)
        elif query.held is None:
            query.held = answer
            self._timers.add(query.started + self._learnt.patience, self._after_patience, query)

    def _accepts(self, query: Query, answer: Answer, now: float) -> bool:
        policy = self.policy
        if not answer.source.degraded or policy.accept == "first" or not (query.singles or query.waiting):
            return True
        if policy.accept == "confident" and answer.confidence >= policy.confident_from:
            return True
        return now >= query.started + self._learnt.patience

    # Timers. Those of a query are called only while it has no outcome.

    def _timer_alive(self, what: object) -> bool:
        if isinstance(what, Query):
            return not what.done
        return not isinstance(what, Worker) or self._ledger.pool.get(what.id) is what

    def _hurry(self, query: Query, now: float) -> None:
        self._ledger.groups.hurry(query)

    def _after_patience(self, query: Query, now: float) -> None:
        if query.held is not None and self._accepts(query, query.held, now):
            self._ledger.answer(query, query.held)
        elif query.held is not None:  # patience has grown meanwhile
            self._timers.add(query.started + self._learnt.patience, self._after_patience, query)

    def _at_deadline(self, query: Query, now: float) -> None:
        if query.held is not None:
            self._ledger.answer(query, query.held)
        else:
            self._ledger.reject(query, Why.DEADLINE)

    def _after_pause(self, worker: Worker | None, now: float) -> None:
        if worker is not None:
            self._ledger.pool.update(worker, now)

    def _watch_for_workers(self, now: float) -> None:
        """Nobody is free. Where nobody is even there, queries fail after a while."""
        if not self._ledger.waiting or self._ledger.pool.can(Role.SINGLE):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
            if self.policy.grace:
                self._timers.add(now + self.policy.grace, self._give_up, None)
            else:
                self._give_up(None, now)

    def _give_up(self, _nothing: None, now: float) -> None:
        since = self._nobody_since
        if since is None or now < since + self.policy.grace or self._ledger.pool.can(Role.SINGLE):
            return
        self._nobody_since = None  # who comes later waits for a grace of their own
        for query, _ in list(self._ledger.queue):
            if not query.done and query.waiting:
                self._ledger.reject(query, Why.NO_WORKERS)
