"""Latencies of the last hour as histograms, one an interval: percentiles over as few intervals as suffice."""

from __future__ import annotations

import math

import numpy as np

_LEAST, _MOST = 1e-4, 1e3  # seconds; what is outside counts as one of them
_RATIO = 1.03  # of a bucket's upper end to its lower: a percentile is known to within 1.5%
_STEP = math.log(_RATIO)
_BUCKETS = math.ceil(math.log(_MOST / _LEAST) / _STEP)
_BEYOND = 2  # so many answers must be slower than a percentile before it is taken for one,
_FEWEST = 20  # and so many there must be


class RecentLatencies:
    """The last `intervals` intervals, the newest of which is open. Its memory never grows."""

    def __init__(self, intervals: int) -> None:
        # Written to, as a system gives pages of zeros only when they are used: the process would grow for an hour.
        self._counts = np.full((intervals, _BUCKETS), 0, np.uint32)
        self._totals = np.zeros(intervals, np.int64)
        self._open = 0

    def add(self, seconds: float) -> None:
        """One latency."""
        bucket = int(math.log(max(seconds, _LEAST) / _LEAST) / _STEP)
        self._counts[self._open, min(bucket, _BUCKETS - 1)] += 1
        self._totals[self._open] += 1

    def roll(self) -> None:
        """Close the open interval, and forget the oldest."""
        self._open = (self._open + 1) % len(self._totals)
        self._counts[self._open] = 0
        self._totals[self._open] = 0

    def quantile(self, q: float, least: int) -> tuple[float, int]:
        """The q-quantile in seconds, over so many of the newest intervals: at least `least` of them, and as many as it
        takes to know it: 20, and two beyond it. (nan, 0) where all together do not suffice.
        """
        order = (self._open - np.arange(len(self._totals))) % len(self._totals)  # newest first
        needed = max(_FEWEST, math.ceil(_BEYOND / min(q, 1 - q)))
        enough = np.flatnonzero(np.cumsum(self._totals[order]) >= needed)
        if not enough.size:
            return math.nan, 0
        used = order[: max(least, int(enough[0]) + 1)]
        cumulated = np.cumsum(self._counts[used].sum(axis=0, dtype=np.int64))
        bucket = int(np.searchsorted(cumulated, math.ceil(q * cumulated[-1])))
        return _LEAST * _RATIO ** (bucket + 0.5), len(used)
