"""Keeps what the first page shows of the past: the history, and the stories of a few queries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from collage.dispatch import Source
from collage.serving._history import COUNTERS, History, Totals
from collage.serving._stories import Stories

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving._inputs import Classified
    from collage.serving._story import QueryStory


class Chronicle:
    """Watches one model, whether anybody looks at the page or not; it goes on where a version replaces another.

    current: the version that answers now; None: the model is served no more. Event loop's thread only.
    """

    interval = 5.0  # seconds

    def __init__(self, current: Callable[[], DataPlane | None]) -> None:
        self._current = current
        self._watched: list[DataPlane] = []
        self._past = _NOTHING  # of versions that have been stopped
        self.history = History(time.monotonic(), time.time(), self.interval)
        self.stories = Stories()

    def begun(self, plane: DataPlane) -> None:
        """A version is, or is to be, served."""
        self._watched.append(plane)
        plane.on_answered.append(self._answered)
        plane.on_settled.append(self._settled)
        plane.beside.append(partial(self._keep, plane))

    def gone(self, plane: DataPlane) -> None:
        """It has been stopped."""
        self._watched.remove(plane)
        self._past = _sum(self._past, _totals(plane))

    def read(self, span: str, since: float) -> dict[str, Any]:
        """What /v1/history says: the points of a range after a Unix time, and what their lines are held against."""
        series, plane = self.history.series[span], self._current()
        return {
            "range": span,
            "interval": series.every * self.interval,
            "length": series.length,
            "windows": self.history.windows,
            "budget": None if plane is None else plane.policy.budget,
            "agreement_least": None if plane is None else plane.agreement.least,
            "points": series.read(since),
        }

    def _answered(self, answer: Classified) -> None:
        self.history.answered(answer.seconds)

    def _settled(self, story: QueryStory) -> None:
        self.stories.add(story)
        if (seconds := story.without_backups) is not None:
            self.history.without_backups(seconds)

    async def _keep(self, plane: DataPlane) -> None:
        """Until cancelled: an interval after the other, at the same times however long each takes.

        Beside each version; that of the current one counts.
        """
        began, number = time.monotonic(), 0
        self.history.begin(began)
        while True:
            number = max(number + 1, int((time.monotonic() - began) / self.interval))
            await asyncio.sleep(max(0.0, began + number * self.interval - time.monotonic()))
            if plane is self._current():
                self.tick(time.monotonic(), plane)

    def tick(self, now: float, plane: DataPlane) -> None:
        """An interval is over; plane: of the current version."""
        view = plane.view()
        gauges = {
            "agreement": plane.agreement.recent,
            "in_flight": plane.in_flight,
            "queued": view.waiting,
            "workers_up": len(view.workers),
            "workers_wanted": plane.workers_wanted,
        }
        totals = reduce(_sum, map(_totals, self._watched), self._past)
        self.history.tick(now, totals, gauges)


_NOTHING = Totals(dict.fromkeys(COUNTERS, 0.0), 0.0, 0.0)


def _totals(plane: DataPlane) -> Totals:
    stats = plane.dispatcher.stats
    counts = {f"answers_{source.value}": float(stats.answered[source]) for source in Source}
    counts["rejected"] = float(stats.rejected.total())
    return Totals(counts, stats.single_seconds, stats.extra_seconds)


def _sum(one: Totals, other: Totals) -> Totals:
    counts = {name: count + other.counts[name] for name, count in one.counts.items()}
    return Totals(counts, one.single_seconds + other.single_seconds, one.extra_seconds + other.extra_seconds)
