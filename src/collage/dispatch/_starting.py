"""What starts: singles first come first served, singles that are sent again, and backups of the policy's code."""

from __future__ import annotations

from collage.dispatch._covering import Cover
from collage.dispatch._events import Source, Why
from collage.dispatch._learnt import Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._policy import Policy
from collage.dispatch._records import Query
from collage.dispatch._watch import NEVER, Timers
from collage.dispatch._workers import Worker


class Starter:
    """Gives jobs to workers. capacity: queries that one job of the policy's code can hold."""

    def __init__(
        self, policy: Policy, ledger: Ledger, learnt: Learnt, timers: Timers, cover: Cover, *, capacity: int
    ) -> None:
        self._policy = policy
        self._code = code = policy.code
        self._capacity = capacity
        self._ledger = ledger
        self._learnt = learnt
        self._timers = timers
        self._cover = cover
        self._groups = ledger.groups
        self._grouping = code is not None and not policy.beside
        self._fills = policy.close_when_full and capacity > 1  # a full group is reason enough for a backup
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
            worker = pool.find(Source.SINGLE.role, query.jobs)
            if worker is None:
                self._watch_for_workers(now)
                return
            queue.popleft()
            cost = self._learnt.singles.mean
            if source is Source.SINGLE or self._affords(query, cost):
                self._start(worker, source, (query,), now, cost)
        self._nobody_since = None

    def resends(self, now: float) -> None:
        """Late singles once more, as the second line wants."""
        resends = self._ledger.resends
        while resends:
            query = resends[0]
            if not query.done and not query.waiting:
                worker = self._ledger.pool.find(Source.REPLICA.role, query.jobs)
                cost = self._learnt.singles.mean
                if worker is None or not self._affords(query, cost):
                    return
                self._ledger.stats.resent += 1
                self._start(worker, Source.REPLICA, (query,), now, cost)
            resends.popleft()

    def backups(self, now: float, age: float = 0.0) -> None:
        """Of the groups that want one, the one with the oldest query first; `age`: only queries at least that old."""
        code, groups = self._code, self._groups
        if code is None or not self._grouping or self._cover.backups_paused_until > now:
            return
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
            if oldest is None:
                return
            worker, cost = self._ledger.pool.find(code.role, oldest.jobs), self._learnt.backup_cost
            if worker is None or not self._affords(oldest, cost):
                return
            members = groups.take(chosen, self._capacity)
            for member in members:
                member.grouped += 1
            self._start(worker, code, members, now, cost)

    def next(self, now: float) -> float:
        """When the next backup will be wanted; NEVER without one."""
        when = NEVER
        for group in self._groups.open.values():
            wanted = self._learnt.wanted_at(next(iter(group.values())))
            # Those whose time has come wait for a worker or the budget, not for the clock.
            if now < wanted < when:
                when = wanted
        return when

    def _wants_backup(self, head: Query, size: int, now: float) -> bool:
        """A group is full, or the query at its head is late, or its deadline near."""
        full = size >= self._capacity
        if not full and self._code is not None and self._code.joint:
            return False
        if full and self._fills and self._learnt.warm:
            return True
        return self._learnt.wanted_at(head) <= now

    def _affords(self, query: Query, cost: float) -> bool:
        if self._ledger.budget.allows(cost):
            return True
        if not query.refused:
            query.refused = True
            self._ledger.stats.budget_exhausted += 1
        return False

    def _start(self, worker: Worker, source: Source, queries: tuple[Query, ...], now: float, cost: float) -> None:
        job = self._ledger.start(worker, source, queries, now, cost)
        self._cover.watch(job, now)
        if source is Source.SINGLE and queries[0].started < 0:
            (query,) = queries
            query.started = now
            if self._grouping:
                self._group(query, now)

    def _group(self, query: Query, now: float) -> None:
        """Its first single has just started: it may be in a backup from now on."""
        code = self._code
        assert code is not None
        if query.accept_degraded or not code.degraded:
            self._groups.add(query)
            if query.deadline is not None:
                last = self._learnt.last_moment(query)
                if last <= now:
                    self._hurry(query, now)
                elif last != NEVER:
                    self._timers.add(last, self._hurry, query)
        self._cover.watch_query(query, now)

    def _hurry(self, query: Query, now: float) -> None:
        self._groups.hurry(query)

    # Nobody there.

    def _watch_for_workers(self, now: float) -> None:
        """Nobody is free. Where nobody is even there, queries fail after a while."""
        if not self._ledger.waiting or self._ledger.pool.can(Source.SINGLE.role):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
            if self._policy.grace:
                self._timers.add(now + self._policy.grace, self._give_up, None)
            else:
                self._give_up(None, now)

    def _give_up(self, _nothing: None, now: float) -> None:
        since = self._nobody_since
        if since is None or now < since + self._policy.grace or self._ledger.pool.can(Source.SINGLE.role):
            return
        self._nobody_since = None  # who comes later waits for a grace of their own
        for query, _ in list(self._ledger.queue):
            if not query.done and query.waiting:
                self._ledger.reject(query, Why.NO_WORKERS)
