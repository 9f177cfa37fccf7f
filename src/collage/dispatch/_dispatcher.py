"""The state machine: events in, actions out. It does no I/O, reads no clock and sees no image.

The rules, which `tests/dispatch/test_machine.py` walks at random:

    1. Every query gets exactly one outcome, Answer or Reject, and then exactly one Settled.
    2. A query's first single starts as soon as a worker is free, first come first served; with placement by speed, a
       slow one only if waiting for another would take longer. Where more wait than workers are free, up to max_batch
       share a job, if they are of one key and none of them is sent again. Backups start only for queries without an
       outcome, and wait behind singles until patience with their oldest query has ended (unless the policy says
       beside, or not to overtake): a few late queries then weigh more than a little wait for all. Where the next single
       has waited as long, all are late, and singles go first again.
    3. Queries of different keys never share a job; one that refuses degraded answers is in none that gives such.
    4. A single's or replica's answer is given at once, a backup's when the policy accepts it, when no single of the
       query runs any more, or at the deadline.
    5. A job that fails, is lost with its worker or goes silent is covered by another single, a few times.
    6. Extra work is paid from the budget.
    7. A joint backup (parity, learned) starts for a full group only, and answers when singles have answered all others.
    8. A slot is free only when the engine has said so: completed, failed, freed, or the worker gone.
    9. A query that shares the jobs of another with the same image, if the policy lets it, has an outcome of its own, by
       its own deadline, and none that it could not have had by itself; `_repeats.py` says who shares with whom.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from collage.dispatch._answering import Answers
from collage.dispatch._budget import Budget
from collage.dispatch._covering import Cover
from collage.dispatch._events import Action, JobId, Outcome, QueryId, Role, Source, Why, WorkerId, WorkerState
from collage.dispatch._groups import Groups
from collage.dispatch._learnt import Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._plan import Plan
from collage.dispatch._policy import Policy
from collage.dispatch._records import Follower, Query
from collage.dispatch._speed import Speeds
from collage.dispatch._starting import Starter
from collage.dispatch._stats import DispatchStats, DispatchView
from collage.dispatch._watch import NEVER, Timers
from collage.dispatch._workers import Worker


class Dispatcher:
    """Decides which job runs where, and which answer is given. Times are seconds on one clock that never goes back.

    capacity: queries that one job of the policy's code can hold, where it holds several; or all the sizes there are a
    model for, of which the smallest that suffices is taken. control_share: of queries, 0..1, whose losers are left
    to run to their end. max_queue: queries waiting for a worker, beyond which new ones are rejected. max_batch: queries
    whose singles may share one job, where several wait.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        capacity: int | Sequence[int] = 1,
        control_share: float = 0.01,
        max_queue: int = 100_000,
        max_batch: int = 1,
        seed: int = 0,
    ) -> None:
        self.policy = policy
        self._control_share = control_share
        self._max_queue = max_queue
        self._random = random.Random(seed)
        self._now = 0.0
        self._learnt = Learnt(policy)
        sizes = (capacity,) if isinstance(capacity, int) else tuple(sorted(set(capacity)))
        if max_batch < 1:
            raise ValueError(f"max_batch must be at least 1, not {max_batch}")
        if not sizes or sizes[0] < 1:
            raise ValueError(f"capacity: one or more sizes of at least 1 are needed, not {capacity}")
        budget = Budget(policy.budget, policy.burst, self._learnt.singles)
        kinds = {code.degraded for code in policy.codes}
        self._ledger = Ledger(budget, Groups(shared=sizes[-1] > 1, apart=len(kinds) > 1))
        self._timers = Timers(self._timer_alive)
        self._plan = Plan(policy, sizes, self._learnt, self._ledger.pool, budget)
        self._cover = Cover(policy, self._plan, self._ledger, self._learnt, self._timers)
        self._joints = self._cover.joints
        self._speeds = Speeds() if policy.placement == "speed" else None
        self._answers = Answers(policy, self._ledger, self._learnt, self._timers, self._cover)
        self._starter = Starter(
            policy, self._plan, self._learnt, self._timers, self._cover, ledger=self._ledger, max_batch=max_batch
        )

    # Events.

    def submit(
        self,
        query: QueryId,
        key: str,
        deadline: float | None,
        accept_degraded: bool,
        now: float,
        *,
        digest: Hashable = None,
    ) -> list[Action]:
        """A new query. Raises ValueError for an id that is in use.

        digest: the same for queries of the same image, and for no others; None: it shares no jobs with any.
        """
        ledger = self._ledger
        control = self._random.random() < self._control_share
        new = Query(query, key, deadline, accept_degraded, control, now)
        if digest is not None and self.policy.share_repeats and (deadline is None or deadline > now):
            new.same = key, digest, accept_degraded
            if self._follows(new, now):
                return self._go_on(now)
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
                self._timers.add(deadline, self._answers.at_deadline, new)
        return self._go_on(now)

    def _follows(self, new: Query, now: float) -> bool:
        """Whether the new query shares the jobs of another. One that is late already is no good to share."""
        ledger = self._ledger
        leader = ledger.repeats.leader(new.same)
        if leader is None or 0 <= leader.started <= now - self._learnt.patience:
            return False
        follower = ledger.follow(new.id, new.deadline, leader)
        if new.deadline is not None:
            self._timers.add(new.deadline, self._answers.at_deadline, follower)
            if leader.started >= 0:
                self._starter.watch_deadline(leader, now)
        return True

    def cancelled(self, query: QueryId, now: float) -> list[Action]:
        """Nobody waits for the query any more."""
        ledger = self._ledger
        known = ledger.queries.get(query) or ledger.repeats.followers.get(query)
        if isinstance(known, Follower) or (known is not None and not known.done and not known.left):
            ledger.reject_alone(known, Why.CANCELLED)
        return self._go_on(now)

    def hurry(self, query: QueryId, now: float) -> list[Action]:
        """Its single is known to straggle: its backup is wanted now. For drivers that can foresee it (a simulation)."""
        known = self._ledger.queries.get(query)
        if known is not None and not known.done:
            self._ledger.groups.hurry(known)
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
            self.stats.workers_lost += not gone.draining
            for number in list(gone.jobs):
                self._cover.lose(self._ledger.jobs.pop(number), now)
        return self._go_on(now)

    def completed(self, job: JobId, outcomes: Sequence[Outcome], now: float) -> list[Action]:
        """A job has ended, with one outcome per query of its Start. One that is not running is ignored.

        A joint job's outcomes are not looked at: what can be read of it is asked for by `Decode`.
        """
        ledger = self._ledger
        found = ledger.end(job, now)
        if found is not None:
            ended, worker = found
            source, queries = ended.source, ended.queries
            seconds = ended.seconds(now)
            worker.done += 1
            if source.role is Role.SINGLE:
                worker.failures = 0
                worker.recent.append(seconds)
                if self._speeds is not None and self._learnt.warm:
                    self._judge(worker, seconds, now)
            else:
                self._cover.backup_ended_well()
            if self._learnt.observe(ended, seconds):
                self._plan.renew(now)
            ledger.pay(ended, now)
            if source.joint:
                for query in queries:
                    ledger.detach(query, ended)
                self._joints.arrived(ended, now)
                return self._go_on(now)
            if len(outcomes) != len(queries):
                raise ValueError(f"job {job}: {len(outcomes)} outcomes for {len(queries)} queries")
            for position, query in enumerate(queries):
                outcome = outcomes[position]
                if outcome.known and not source.degraded:
                    query.answered = True
                ledger.detach(query, ended)
                self._answers.receive(query, ended, position, outcome, now)
        return self._go_on(now)

    def decoded(self, job: JobId, position: int, outcome: Outcome, now: float) -> list[Action]:
        """What came of a `Decode`. One that was not asked for is ignored."""
        found = self._joints.decoded(job, position)
        if found is not None:
            query, read = found
            self._answers.receive(query, read, position, outcome, now)
        return self._go_on(now)

    def failed(self, job: JobId, why: str, now: float) -> list[Action]:
        """A job gave no usable output; its worker lives and its slot is free."""
        found = self._ledger.end(job, now)
        if found is not None:
            self._cover.failed(*found, now)
        return self._go_on(now)

    def freed(self, job: JobId, now: float) -> list[Action]:
        """A cancelled job has stopped without output."""
        found = self._ledger.end(job, now)
        if found is not None:
            self._cover.stopped(found[0], now)
        return self._go_on(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._go_on(now)

    @property
    def next_tick(self) -> float | None:
        """When `tick` should be called, if nothing happens before; None: need not."""
        when = min(self._timers.next, self._cover.next, self._starter.next(self._now))
        return None if when == NEVER else when

    # What has been, and what is.

    @property
    def stats(self) -> DispatchStats:
        """Counts since the start."""
        return self._ledger.stats

    @property
    def waiting(self) -> int:
        """Queries without a running single."""
        return self._ledger.waiting

    def view(self, now: float) -> DispatchView:
        """The moment, for metrics and pages."""
        learnt, policy = self._learnt, self.policy
        known = policy.code is not None and learnt.warm
        usual = learnt.singles.quantile(0.5) if learnt.warm else None
        return DispatchView(
            waiting=self._ledger.waiting,
            in_flight=self._ledger.open,
            groups=len(self._ledger.groups.open),
            patience=learnt.patience if known and policy.accept != "first" else None,
            trigger=self._plan.any.age if known and self._plan.any.age < NEVER else None,
            balance=self._ledger.budget.balance,
            paused=self._plan.degraded_paused_until > now,
            workers=tuple(worker.view(usual, now) for worker in self._ledger.pool),
        )

    # After every event.

    def _go_on(self, now: float) -> list[Action]:
        """What is due, then what can start. Returns all actions since the event."""
        self._now = now
        ledger, starter = self._ledger, self._starter
        self._timers.run(now)
        self._cover.look(now)
        if ledger.touched:
            self._joints.look(now)
        grouped = ledger.groups.open
        if grouped and self.policy.overtake and not starter.crowded(now):
            starter.backups(now, self._learnt.patience)
        starter.singles(now)
        if ledger.resends:
            starter.resends(now)
        if grouped:
            starter.backups(now)
        if ledger.touched:
            self._joints.look(now)
        return ledger.take_actions()

    def _judge(self, worker: Worker, seconds: float, now: float) -> None:
        """Whether this worker is slow, by its last single."""
        assert self._speeds is not None
        if self._speeds.observe(worker, seconds, self._learnt.singles.quantile(0.5), now):
            self._ledger.pool.update(worker, now)
            self._timers.add(worker.slow_until, self._ledger.pool.update, worker)

    def _timer_alive(self, what: object) -> bool:
        """Timers of a query are called only while it has no outcome."""
        if isinstance(what, Query | Follower):
            return not what.done
        return not isinstance(what, Worker) or self._ledger.pool.get(what.id) is what
