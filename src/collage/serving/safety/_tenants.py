"""Tenants while serving: whose collages, how fast, and how many queries at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

from collage.exceptions import RateLimited, TooLarge
from collage.serving.safety._rate import Bucket
from collage.serving.safety._settings import TenantSettings

_SHARED = "shared"  # the dispatcher's key of all who share; a tenant's own begins with another word
_CROWDED_RETRY = 1.0  # seconds


class Tenant:
    """One tenant. Event loop's thread only.

    key: the dispatcher's, so queries of different keys never share a job's picture. `limited` counts the queries that
    were refused, by limit; `queries` those of requests that were not.
    """

    def __init__(
        self, name: str, settings: TenantSettings, *, most: int, burst: int, clock: Callable[[], float]
    ) -> None:
        """most: queries in flight; burst: the least burst, both where the settings leave them out."""
        self.name = name
        self.key = "" if not name else _SHARED if settings.shares_collages else f"tenant:{name}"
        self.queries = 0
        self.limited = {"rate": 0, "in_flight": 0}
        self.in_flight = 0
        self.most = settings.max_in_flight or most
        self._clock = clock
        rate = settings.queries_per_second
        self._bucket = None if rate is None else Bucket(rate, settings.burst or max(math.ceil(rate), burst))

    def enter(self) -> Admission:
        """Around one request, from before its body is read; counts as one query. Raises RateLimited."""
        return Admission(self)

    def leave(self, admission: Admission) -> None:
        """A request is over."""
        self.in_flight -= admission.queries
        if not admission.refused:
            self.queries += admission.queries

    def take(self, count: int, held: int) -> None:
        """So many queries more of a request that has `held`. Raises RateLimited, TooLarge where it can never be."""
        total = held + count
        bucket = self._bucket
        most = self.most if bucket is None else min(self.most, bucket.burst)
        if total > most:
            raise TooLarge(f"{total} in a request; at most {most} at once are allowed here", field="images")
        if self.in_flight + count > self.most:
            self.limited["in_flight"] += total
            raise RateLimited(
                f"{self.in_flight} of this tenant's queries have no answer yet; at most {self.most} are allowed",
                retry_after=_CROWDED_RETRY,
            )
        wait = 0.0 if bucket is None else bucket.take(count, self._clock())
        if bucket is not None and wait > 0:
            self.limited["rate"] += total
            raise RateLimited(f"more than {bucket.rate:g} queries a second", retry_after=wait)
        self.in_flight += count

    def give_back(self, count: int) -> None:
        """Queries that were let in and then not asked."""
        if self._bucket is not None:
            self._bucket.give_back(count)


class Admission:
    """One request of a tenant that was let in. queries: how many of them it counts as."""

    __slots__ = ("queries", "refused", "tenant")

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.queries = 0
        self.refused = False

    def __enter__(self) -> Self:
        self.add(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.tenant.leave(self)

    def add(self, count: int) -> None:
        """So many queries more. Raises RateLimited, and TooLarge where no wait would help."""
        if count <= 0:
            return
        try:
            self.tenant.take(count, self.queries)
        except (RateLimited, TooLarge):
            self.refused = True
            self.tenant.give_back(self.queries)  # a request that is refused as a whole has used nothing
            raise
        self.queries += count
