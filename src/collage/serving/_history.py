"""The last day of a gateway, for the first page: a fine line for the last minutes, coarser ones for hours and the day.

    range   a point every   points   (of a history whose interval is 5 s)
    15m     5 s             180
    3h      60 s            180
    24h     300 s           288

All of it is made once, in arrays of fixed size: a day of queries costs as much memory as a minute.

Latencies are shown twice: of the answers that were given (`answered`), and as they would have been without backups
(`without`), which is known of the controls, whose singles run to the end. Both are percentiles over as short a time as
suffices (`_recent.py`), at least a point's interval and at most an hour.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collage.dispatch import Source
from collage.serving._recent import RecentLatencies

QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
COUNTERS = (*(f"answers_{source.value}" for source in Source), "rejected")  # shown as so many a second
GAUGES = ("agreement", "in_flight", "queued", "workers_up", "workers_wanted")
_LATENCIES = (*(f"answered_{name}" for name in QUANTILES), *(f"without_{name}" for name in QUANTILES))
COLUMNS = (*_LATENCIES, *COUNTERS, "extra_work", *GAUGES)

_HOUR = 720  # intervals
_SMOOTH = 12  # of them: extra work is over a minute at least, as a job counts when it ends
_PAUSE = 3.0  # intervals without a point, after which a line breaks


class Series:
    """The last `length` points of every column, each standing for `every` intervals."""

    def __init__(self, every: int, length: int) -> None:
        self.every = every
        self._times = np.zeros(length)
        self._rows = np.full((length, len(COLUMNS)), np.nan)
        self._written = 0  # points since the start

    def append(self, at: float, row: Mapping[str, float | None]) -> None:
        """A point; what is absent or None is a gap in its line."""
        place = self._written % len(self._times)
        values = [row.get(name) for name in COLUMNS]
        self._times[place] = at
        self._rows[place] = [math.nan if value is None else value for value in values]
        self._written += 1

    @property
    def length(self) -> int:
        """The most points that it keeps."""
        return len(self._times)

    def read(self, since: float) -> dict[str, Any]:
        """The points after `since`, oldest first: `at`, and each column's values, of which None is a gap."""
        kept = min(self._written, len(self._times))
        order = np.arange(self._written - kept, self._written) % len(self._times)
        order = order[self._times[order] > since]
        return {"at": np.round(self._times[order], 3).tolist()} | {
            name: [None if math.isnan(value) else float(f"{value:.4g}") for value in self._rows[order, column].tolist()]
            for column, name in enumerate(COLUMNS)
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been counted since the start. counts: of COUNTERS; seconds: worker-seconds."""

    counts: Mapping[str, float]
    single_seconds: float
    extra_seconds: float


class History:
    """What happened, and when. Times are on any clock that never goes back; those that are read are Unix times."""

    def __init__(self, now: float, unix: float, interval: float = 5.0) -> None:
        self.interval = interval  # seconds, of the finest line
        self.series = {"15m": Series(1, 180), "3h": Series(12, 180), "24h": Series(60, 288)}
        self.windows: dict[str, float | None] = dict.fromkeys(_LATENCIES)  # seconds that the newest points are over
        self._answered = RecentLatencies(_HOUR)
        self._without = RecentLatencies(_HOUR)
        self._unix = unix - now
        self._ticks = 0
        zero = Totals(dict.fromkeys(COUNTERS, 0.0), 0.0, 0.0)
        most = max(series.every for series in self.series.values()) + 1
        self._totals: deque[tuple[float, Totals]] = deque([(now, zero)], maxlen=max(most, _SMOOTH + 1))

    def begin(self, now: float) -> None:
        """Serving begins now, after whatever it took to start. Once it has begun, this does nothing."""
        if not self._ticks:
            self._totals[0] = now, self._totals[0][1]

    def answered(self, seconds: float) -> None:
        """A query was answered after so long."""
        self._answered.add(seconds)

    def without_backups(self, seconds: float) -> None:
        """A control would have been answered after so long, had there been no backups."""
        self._without.add(seconds)

    def tick(self, now: float, totals: Totals, gauges: Mapping[str, float | None]) -> None:
        """An interval is over. One that came late, as the process stood still, is a longer one, with a gap before."""
        late = now - self._totals[-1][0] > _PAUSE * self.interval
        self._totals.append((now, totals))
        self._ticks += 1
        for series in self.series.values():
            if self._ticks % series.every == 0:
                if late and series.every == 1:
                    series.append(self._unix + now - self.interval, {})
                row = {**self._latencies(series.every), **self._rates(series.every), **gauges}
                series.append(self._unix + now, row)
        self._answered.roll()
        self._without.roll()

    def _latencies(self, every: int) -> dict[str, float]:
        row = {}
        for kind, recent in (("answered", self._answered), ("without", self._without)):
            for name, q in QUANTILES.items():
                row[f"{kind}_{name}"], used = recent.quantile(q, every)
                if every == 1:
                    self.windows[f"{kind}_{name}"] = used * self.interval or None
        return row

    def _rates(self, every: int) -> dict[str, float | None]:
        since, before = self._totals[max(0, len(self._totals) - 1 - every)]
        now, totals = self._totals[-1]
        rates = {name: (totals.counts[name] - before.counts[name]) / (now - since) for name in COUNTERS}
        _, earlier = self._totals[max(0, len(self._totals) - 1 - max(every, _SMOOTH))]
        singles = totals.single_seconds - earlier.single_seconds
        return rates | {"extra_work": (totals.extra_seconds - earlier.extra_seconds) / singles if singles > 0 else None}
