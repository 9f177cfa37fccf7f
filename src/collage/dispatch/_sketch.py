"""Quantiles of recent times, learnt one by one: a histogram of logarithmic buckets over a sliding window.

As Finagle's windowed summaries, but windows count observations instead of seconds, so that a quiet service keeps what
it has learnt. Buckets a fiftieth apart: a quantile is known to within 1%.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

_LEAST = 1e-6  # seconds: the first bucket's upper edge
_GROWTH = math.log(1.02)
_BUCKETS = 1100  # up to about 2,800 s
_STALE = 32  # observations after which a quantile is worked out again


class LatencySketch:
    """Times in seconds. Looks back on `memory` to 2 x `memory` of them, forgetting the older half at a time.

    mean: of the window; 0 before the first observation. seen: observations ever.
    """

    __slots__ = ("_all", "_below", "_count", "_count_now", "_known", "_memory", "_now", "_stale", "_sum_before",
                 "_sum_now", "mean", "seen")  # fmt: skip

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._now = [0] * _BUCKETS  # the younger half
        self._all = [0] * _BUCKETS  # both
        self._count_now = 0
        self._count = 0
        self._sum_now = 0.0
        self._sum_before = 0.0
        self._known: dict[float, float] = {}
        self._below: list[int] = []  # observations up to each bucket; empty: not worked out since the last one
        self._stale = 0
        self.mean = 0.0
        self.seen = 0

    def add(self, seconds: float) -> bool:
        """One more observation, 0 or above. Returns whether quantiles may have changed."""
        bucket = _bucket(seconds)
        self._below = []
        self._now[bucket] += 1
        self._all[bucket] += 1
        self._count_now += 1
        self._count += 1
        self._sum_now += seconds
        self.mean = (self._sum_now + self._sum_before) / self._count
        self.seen += 1
        self._stale += 1
        changed = self._stale >= _STALE or self.seen <= _STALE
        if changed:
            self._known.clear()
            self._stale = 0
        if self._count_now >= self._memory:
            self._all, self._now = self._now, [0] * _BUCKETS
            self._count, self._count_now = self._count_now, 0
            self._sum_before, self._sum_now = self._sum_now, 0.0
            self.mean = self._sum_before / self._count
        return changed

    def quantile(self, share: float) -> float:
        """The time that `share` (0..1) of the window is at most, to within 1%; 0 before the first observation."""
        known = self._known.get(share)
        if known is None:
            known = self._known[share] = self._work_out(share)
        return known

    def above(self, seconds: float) -> float:
        """Share of the window, 0..1, that is longer, to within 1% of the time; 0 before the first observation."""
        return sum(self._all[_bucket(seconds) + 1 :]) / self._count if self._count else 0.0

    def _work_out(self, share: float) -> float:
        if not self._count:
            return 0.0
        if not self._below:
            self._below = list(accumulate(self._all))
        bucket = bisect_left(self._below, max(1.0, share * self._count))
        return _LEAST * math.exp((min(bucket, _BUCKETS - 1) - 0.5) * _GROWTH)  # the bucket's middle


def _bucket(seconds: float) -> int:
    return 0 if seconds <= _LEAST else min(_BUCKETS - 1, 1 + int(math.log(seconds / _LEAST) / _GROWTH))
