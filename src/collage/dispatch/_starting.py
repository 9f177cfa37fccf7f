"""What starts: singles first come first served, singles that are sent again, and backups of the policy's code."""

from __future__ import annotations

from collage.dispatch._covering import Cover
from collage.dispatch._events import QueryId, Role, Source, Why
from collage.dispatch._learnt import Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._plan import Plan
from collage.dispatch._policy import Policy
from collage.dispatch._records import Query
from collage.dispatch._watch import NEVER, Timers
from collage.dispatch._workers import Worker

_PASSED = 64  # queries of other keys that are passed by to fill a call


class Starter:
    """Gives jobs to workers."""

    def __init__(
        self,
        policy: Policy,
        plan: Plan,
        learnt: Learnt,
        timers: Timers,
        cover: Cover,
        *,
        ledger: Ledger,
        max_batch: int = 1,
    ) -> None:
        self._max_batch = max_batch
        self._policy = policy
        self._plan = plan
        self._ledger = ledger
        self._learnt = learnt
        self._timers = timers
        self._cover = cover
        self._groups = ledger.groups
        self._grouping = policy.code is not None and not policy.beside
        self._nobody_since: float | None = None  # no worker for singles

    def singles(self, now: float) -> None:
        """Queries that wait, in their order, as long as workers are free."""
        queue, pool = self._ledger.queue, self._ledger.pool
        while queue:
            query, source = queue[0]
            if query.done or (source is Source.SINGLE and not query.waiting):
                queue.popleft()
                continue
            # Rather not on a worker that runs a job of this query already.
            worker = pool.find(Role.SINGLE, query.jobs) or self._slow(query)
            if worker is None:
                self._watch_for_workers(now)
                return
            queue.popleft()
            cost = self._learnt.singles.mean
            if source is Source.SINGLE or self._affords(query, cost):
                queries = (query,) if self._max_batch == 1 or source is not Source.SINGLE else self._batch(query)
                self._start(worker, source, queries, now, cost=cost)
        self._nobody_since = None

    def _batch(self, first: Query) -> tuple[Query, ...]:
        """The query, just taken off the queue, and those behind it that share its call.

        No more than would be left for each free slot: an idle worker is better than a fuller call. Queries of another
        key are passed by, and keep their places. One that is sent again goes alone, lest what is wrong with it be
        wrong with the others' call again.
        """
        ledger = self._ledger
        share = -(-ledger.waiting // max(1, ledger.pool.free_slots(Role.SINGLE)))
        most = min(self._max_batch, share)
        batch = [first]
        passed: list[tuple[Query, Source]] = []
        while ledger.queue and len(batch) < most and len(passed) < _PASSED and not first.attempts:
            entry = query, source = ledger.queue.popleft()
            if source is Source.SINGLE and not query.waiting:
                continue
            fits = source is Source.SINGLE and query.key == first.key and not query.attempts
            if fits:
                batch.append(query)
            else:
                passed.append(entry)
        ledger.queue.extendleft(reversed(passed))
        return tuple(batch)

    def _slow(self, query: Query) -> Worker | None:
        """A worker that is predicted to be slow, where the queue is so long that waiting for another takes longer."""
        slow = self._ledger.pool.find_slow(Role.SINGLE, query.jobs)
        long = slow is not None and self._ledger.waiting >= (slow.slowness - 1.0) * self._ledger.pool.steady
        return slow if long else None

    def crowded(self, now: float) -> bool:
        """Whether the next single has waited for longer than the patience with any: then all are late, and no backup
        goes first.
        """
        queue = self._ledger.queue
        return bool(queue) and now - queue[0][0].entered > self._learnt.patience

    def resends(self, now: float) -> None:
        """Late singles once more, as the second line wants."""
        resends = self._ledger.resends
        while resends:
            query = resends[0]
            if not query.done and not query.waiting:
                worker = self._ledger.pool.find(Role.SINGLE, query.jobs)
                cost = self._learnt.singles.mean
                if worker is None or not self._affords(query, cost):
                    return
                self._ledger.stats.resent += 1
                self._start(worker, Source.REPLICA, (query,), now, cost=cost)
            resends.popleft()

    def backups(self, now: float, age: float = 0.0) -> None:
        """Of the groups that want one, the one with the oldest query first; `age`: only queries at least that old."""
        groups = self._groups
        while groups.open:
            oldest: Query | None = None
            for group in groups.open.values():
                head = next(iter(group.values()))
                if (
                    now >= head.started + age
                    and (oldest is None or head.started < oldest.started)
                    and self._wants_backup(head, len(group), now)
                ):
                    oldest, chosen = head, group
            if oldest is None or not self._start_backup(oldest, chosen, now):
                return

    def _start_backup(self, oldest: Query, group: dict[QueryId, Query], now: float) -> bool:
        """Whether a worker is there and the budget lasts."""
        plan = self._plan
        source = plan.of(oldest, now).source
        assert source is not None  # it is wanted
        source, capacity = plan.job_for(source, len(group))
        worker = self._ledger.pool.find(source.role, oldest.jobs)
        if worker is None:
            return False
        cost = self._learnt.cost(source, capacity)
        if not self._affords(oldest, cost):
            return False
        plan.started(source)
        members = self._groups.take(group, capacity)
        for member in members:
            member.grouped += 1
        self._start(worker, source, members, now, cost=cost, capacity=capacity)
        return True

    def next(self, now: float) -> float:
        """When the next backup will be wanted; NEVER without one."""
        when = NEVER
        for group in self._groups.open.values():
            wanted = self._plan.wanted_at(next(iter(group.values())), now)
            # Those whose time has come wait for a worker or the budget, not for the clock.
            if now < wanted < when:
                when = wanted
        return when

    def _wants_backup(self, head: Query, size: int, now: float) -> bool:
        """A group is full, or the query at its head is late, or its deadline near; and backups are possible."""
        plan = self._plan
        source = plan.of(head, now).source
        if source is None:
            return False
        if source.shared and size >= plan.most(source) and plan.fills and self._learnt.warm:
            return True
        if source.joint and size < plan.most(source):
            return False
        return plan.wanted_at(head, now) <= now

    def _affords(self, query: Query, cost: float) -> bool:
        if self._ledger.budget.allows(cost):
            return True
        if not query.refused:
            query.refused = True
            self._ledger.stats.budget_exhausted += 1
        return False

    def _start(
        self, worker: Worker, source: Source, queries: tuple[Query, ...], now: float, *, cost: float, capacity: int = 1
    ) -> None:
        job = self._ledger.start(worker, source, queries, now, cost=cost, capacity=capacity)
        self._cover.watch(job, now)
        if source is Source.SINGLE:
            for query in queries:
                if query.started < 0:
                    query.started = now
                    if self._grouping:
                        self._group(query, now)

    def _group(self, query: Query, now: float) -> None:
        """Its first single has just started: it may be in a backup from now on."""
        if self._plan.possible(query):
            self._groups.add(query)
            if query.soonest is not None:
                self.watch_deadline(query, now)
        self._cover.watch_query(query, now)

    def watch_deadline(self, query: Query, now: float) -> None:
        """Its backup must start in time for the first deadline of those that wait for its answer."""
        last = self._plan.last_moment(query)
        if last <= now:
            self._hurry(query, now)
        elif last != NEVER:
            self._timers.add(last, self._hurry, query)

    def _hurry(self, query: Query, now: float) -> None:
        self._groups.hurry(query)

    # Nobody there.

    def _watch_for_workers(self, now: float) -> None:
        """Nobody is free. Where nobody is even there, queries fail after a while."""
        if not self._ledger.waiting or self._ledger.pool.can(Role.SINGLE):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
            if self._policy.grace:
                self._timers.add(now + self._policy.grace, self._give_up, None)
            else:
                self._give_up(None, now)

    def _give_up(self, _nothing: None, now: float) -> None:
        since = self._nobody_since
        if since is None or now < since + self._policy.grace or self._ledger.pool.can(Role.SINGLE):
            return
        self._nobody_since = None  # who comes later waits for a grace of their own
        for query, _ in list(self._ledger.queue):
            if not query.done and query.waiting:
                self._ledger.reject(query, Why.NO_WORKERS)
