"""Latencies of any number of queries in little memory: logarithmic buckets, so that every quantile is known alike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-6  # seconds: the lower edge of bucket 0, which also holds whatever is shorter
_STEP = math.log(1.005)
_BUCKETS = 5400  # up to about 5e5 s


def edge(bucket: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Lower edges of buckets, seconds."""
    return np.asarray(LEAST * np.exp(np.asarray(bucket) * _STEP), np.float64)


@dataclass(frozen=True)
class LatencyHistogram:
    """Counts by bucket, each 0.5% wide: a quantile is wrong by less than that. Immutable, comparable, picklable.

    counts: of buckets `first` to the last that is not empty. total, squares: sums of all times and of their squares.
    """

    first: int = 0
    counts: tuple[int, ...] = ()
    total: float = 0.0
    squares: float = 0.0

    @property
    def count(self) -> int:
        """Times in it."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Mean, seconds, exact; NaN where it is empty."""
        return self.total / self.count if self.count else math.nan

    @property
    def std(self) -> float:
        """Standard deviation, seconds, exact; NaN where it is empty."""
        count = self.count
        return math.sqrt(max(0.0, self.squares / count - (self.total / count) ** 2)) if count else math.nan

    def quantile(self, share: float) -> float:
        """The time that `share`, 0..1, of all is at most, seconds; NaN where it is empty."""
        if not self.counts:
            return math.nan
        below = np.cumsum(self.counts)
        wanted = share * below[-1]
        at = int(np.searchsorted(below, wanted))
        while self.counts[at] == 0:
            at += 1
        inside = (wanted - (below[at] - self.counts[at])) / self.counts[at]
        return float(LEAST * math.exp((self.first + at + min(1.0, max(0.0, inside))) * _STEP))

    def cdf(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times (n,), seconds, rising, and the share of all that is at most each (n,): for figures."""
        edges = edge(np.arange(self.first, self.first + len(self.counts) + 1))
        shares = np.concatenate([[0.0], np.cumsum(self.counts)]) / max(1, self.count)
        return edges, shares

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """All of them in one."""
        counter, total, squares = np.zeros(_BUCKETS, np.int64), 0.0, 0.0
        for part in parts:
            counter[part.first : part.first + len(part.counts)] += np.asarray(part.counts, np.int64)
            total, squares = total + part.total, squares + part.squares
        return cls._of(counter, total, squares)

    @classmethod
    def _of(cls, counter: NDArray[np.int64], total: float, squares: float) -> Self:
        filled = np.flatnonzero(counter)
        if not len(filled):
            return cls()
        first, last = int(filled[0]), int(filled[-1])
        return cls(first, tuple(counter[first : last + 1].tolist()), total, squares)


class HistogramBuilder:
    """Takes times one by one; numpy sorts them into their buckets some thousand at a time."""

    _PENDING = 8192

    def __init__(self) -> None:
        self._counter = np.zeros(_BUCKETS, np.int64)
        self._total = self._squares = 0.0
        self._pending: list[float] = []

    def add(self, seconds: float) -> None:
        """One more time, 0 or above."""
        self._pending.append(seconds)
        if len(self._pending) >= self._PENDING:
            self._flush()

    def build(self) -> LatencyHistogram:
        """What has been added so far."""
        self._flush()
        return LatencyHistogram._of(self._counter, self._total, self._squares)

    def _flush(self) -> None:
        times = np.asarray(self._pending)
        self._pending.clear()
        buckets = np.log(np.maximum(times, LEAST) / LEAST) / _STEP
        self._counter += np.bincount(np.minimum(buckets.astype(np.int64), _BUCKETS - 1), minlength=_BUCKETS)
        self._total += float(times.sum())
        self._squares += float((times * times).sum())
