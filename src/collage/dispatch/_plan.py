"""Which code a backup is made of, and from which age of a query on it is wanted.

A policy that names one code and a fixed trigger has its plan made. With the trigger `in_time`, the plan follows what is
measured, and is made anew every so many singles. It is the policy `auto` in ten lines:

    1. A code's backup takes d seconds (its own times, at a quantile) and costs c worker-seconds (their mean).
    2. An answer before patience has ended is not taken, so that a backup is wanted at age patience - d, no earlier.
    3. A backup for everyone of that age costs c / q of the singles' work for each single, where q is the number of
       queries that share it: 1 / (share of singles that get so old) + those that start meanwhile, up to what fills it.
    4. Where that is more than may be spent, age grows until it is not. What may be spent is the operator's `budget`,
       and no more than `idle_share` of the time that workers stand idle: as load grows, less; in overload, nothing.
    5. Of all codes whose model a worker has, the one whose answer is there first (age + d, or as patience ends) is
       taken; of those within a twentieth of it, the one that costs least. Where none can be afforded: no backups.
    6. A code of unknown cost is tried before any choice, and one that was not used for long is tried again.
    7. A query that refuses degraded answers gets the best of the codes that give none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from collage.dispatch._budget import Budget
from collage.dispatch._events import Role, Source
from collage.dispatch._learnt import Learnt
from collage.dispatch._policy import Policy
from collage.dispatch._records import Query
from collage.dispatch._watch import NEVER
from collage.dispatch._workers import WorkerPool

_EVERY = 128  # singles between two plans
_SMOOTH = 0.1  # weight of the newest rate
_TRIES = 8  # backups of a code before its cost is believed
_STALE = 200  # backups of other codes, after which an unused one is tried again
_NEAR = 1.05  # answers that are there so much later are as good


class Choice(NamedTuple):
    """A code, or None for no backups; age: seconds after its start at which a query wants one."""

    source: Source | None
    age: float


NOTHING = Choice(None, NEVER)


class Plan:
    """What is right now. any: for queries that accept degraded answers; exact: for those that do not.

    sizes: numbers of queries that a job of a code that holds several may be made for, rising.
    """

    def __init__(self, policy: Policy, sizes: Sequence[int], learnt: Learnt, pool: WorkerPool, budget: Budget) -> None:
        self._policy = policy
        self._learnt = learnt
        self._pool = pool
        self._budget = budget
        self._sizes = {code: tuple(sizes) if code.shared else (1,) for code in policy.codes}
        self._planned = 0  # singles seen by then
        self._planned_at = 0.0
        self._rate: float | None = None  # singles that end in a second
        self._used = dict.fromkeys(policy.codes, 0)  # backups sent when it was last used
        self._sent = 0
        self.any = self.exact = NOTHING
        self.late = NEVER  # age at which a single is called late
        self.fills = policy.close_when_full and any(code.shared and self.most(code) > 1 for code in policy.codes)
        self.degraded_paused_until = 0.0  # after failures
        self.renew(0.0)

    def renew(self, now: float) -> None:
        """What was learnt has changed."""
        policy, learnt = self._policy, self._learnt
        chosen = policy.trigger == "in_time"
        if not chosen:
            self.late = learnt.trigger
            self.any = Choice(policy.code, learnt.trigger)
            self.exact = Choice(next((code for code in policy.codes if not code.degraded), None), learnt.trigger)
        seen = learnt.singles.seen - self._planned
        if not learnt.warm or not (chosen or policy.idle_share) or (self._rate is not None and seen < _EVERY):
            return
        self._measure(seen, now)
        if chosen:
            codes = [code for code in (policy.code, *policy.among) if code is not None and self._pool.can(code.role)]
            self.any = self._best(codes)
            self.exact = self._best(code for code in codes if not code.degraded)
            self.late = min(self.any.age, self.exact.age)

    def possible(self, query: Query) -> bool:
        """Whether it may ever be in a backup."""
        return query.accept_degraded or any(not code.degraded for code in self._sizes)

    def of(self, query: Query, now: float) -> Choice:
        """What this query, the first of its group, is to get."""
        if not query.accept_degraded:
            return self.exact
        choice = self.any
        if self.degraded_paused_until > now and choice.source is not None and choice.source.degraded:
            return self.exact
        return choice

    def size(self, source: Source, queries: int) -> int:
        """The smallest that holds so many, else the largest."""
        sizes = self._sizes[source]
        return next((size for size in sizes if size >= queries), sizes[-1])

    def most(self, source: Source) -> int:
        """The largest size."""
        return self._sizes[source][-1]

    def wanted_at(self, query: Query, now: float) -> float:
        """When a backup of the query, the first of its group, is wanted: once it is late, or its deadline near."""
        source, age = self.of(query, now)
        return query.started if query.hurried and source is not None else query.started + age

    def last_moment(self, query: Query) -> float:
        """When a backup must start to be of use before the deadline; NEVER where the query is late before that."""
        source, age = self.any if query.accept_degraded else self.exact
        deadline = query.soonest
        if deadline is None or not self._learnt.warm or source is None:
            return NEVER
        cost = self._learnt.cost(source, self.most(source))
        when = deadline - 2 * cost  # twice the mean, because half of them take longer
        return when if when < query.started + age else NEVER

    def job_for(self, source: Source, queries: int) -> tuple[Source, int]:
        """The code and size of the job to start for a group of so many, where this code is right for its oldest."""
        if self._policy.among and source.degraded:
            source = self._to_try() or source
        if queries == 1 and source.shared:
            source = self._alone(source)
        return source, self.size(source, queries)

    def started(self, source: Source) -> None:
        """A backup of this code has started."""
        self._sent += 1
        self._used[source] = self._sent

    def _alone(self, shared: Source) -> Source:
        """What one query without company gets."""
        if self._policy.alone is not None:
            return self._policy.alone if self._pool.can(self._policy.alone.role) else shared
        if not self._policy.among:
            return shared
        others = [code for code in self._policy.among if self._pool.can(code.role)]
        return min((shared, *others), key=lambda code: self._learnt.cost(code, self.size(code, 1)))

    def _to_try(self) -> Source | None:
        """A code whose cost is not known, or no longer."""
        for code, used in self._used.items():
            if code.role is Role.SINGLE or not self._pool.can(code.role):
                continue
            if self._learnt.tries(code) < _TRIES or self._sent - used >= _STALE:
                return code
        return None

    # Measuring.

    def _measure(self, seen: int, now: float) -> None:
        """Load, and with it what may be spent."""
        if now > self._planned_at:
            rate = seen / (now - self._planned_at)
            self._rate = rate if self._rate is None else self._rate + _SMOOTH * (rate - self._rate)
        self._planned, self._planned_at = self._learnt.singles.seen, now
        if self._policy.idle_share is not None and self._rate is not None:
            load = self._rate * self._learnt.singles.mean / max(1, self._pool.slots(Role.SINGLE))
            idle = max(0.0, 1.0 - load) / max(load, 1e-6)
            self._budget.share = min(self._policy.budget, self._policy.idle_share * idle)

    def _best(self, codes: Iterable[Source]) -> Choice:
        patience = self._learnt.patience
        found: list[tuple[float, float, Choice]] = []  # when the answer is there, extra work
        for code in codes:
            takes = self._learnt.takes(code, self.most(code))
            age, work = self._affordable(code, max(0.0, patience - takes))
            if age < NEVER:
                found.append((max(patience, age + takes), work, Choice(code, age)))
        if not found:
            return NOTHING
        first = min(there for there, _, _ in found)
        return min((work, choice) for there, work, choice in found if there <= first * _NEAR)[1]

    def _affordable(self, code: Source, age: float) -> tuple[float, float]:
        """The first age from this one on at which the budget lasts, and the extra work then; NEVER where there is none.

        More people wait for less as the age grows: fewer singles get so old, and more queries share a backup.
        """
        share = self._budget.share
        if share <= 0:
            return NEVER, 0.0
        least = self._work(code, age)
        if least <= share:
            return age, least
        most = max(age, self._learnt.singles.quantile(0.999))
        if self._work(code, most) > share:
            return NEVER, 0.0
        for _ in range(8):
            middle = (age + most) / 2
            if self._work(code, middle) <= share:
                most = middle
            else:
                age = middle
        return most, self._work(code, most)

    def _work(self, code: Source, age: float) -> float:
        """Extra work, over the singles', if a backup is made for every query of this age."""
        learnt = self._learnt
        mean = learnt.singles.mean
        old = learnt.singles.above(age)
        if not old or not mean:
            return 0.0
        shares = 1 / old
        size = 1
        if code.shared:
            meanwhile = (self._rate or 0.0) * age
            size = self.size(code, 1 + int(meanwhile * (1 + old) / 2))
            shares += meanwhile
            if self._policy.close_when_full:
                shares = min(shares, 2 * self.most(code) / (1 + old))  # some are answered before it is full
        return learnt.cost(code, size) / mean / shares
