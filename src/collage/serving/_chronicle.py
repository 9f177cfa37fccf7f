"""Keeps what the first page shows of the past: the history, and the stories of a few queries."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from collage.dispatch import Source
from collage.serving._history import History, Totals
from collage.serving._stories import Stories

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving._inputs import Classified
    from collage.serving._story import QueryStory


class Chronicle:
    """Watches one data plane, whether anybody looks at the page or not. Event loop's thread only."""

    interval = 5.0  # seconds

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self.history = History(time.monotonic(), time.time(), self.interval)
        self.stories = Stories()
        plane.on_answered.append(self._answered)
        plane.on_settled.append(self._settled)
        plane.beside.append(self._keep)

    def read(self, span: str, since: float) -> dict[str, Any]:
        """What /v1/history says: the points of a range after a Unix time, and what their lines are held against."""
        series = self.history.series[span]
        return {
            "range": span,
            "interval": series.every * self.interval,
            "length": series.length,
            "windows": self.history.windows,
            "budget": self._plane.policy.budget,
            "agreement_least": self._plane.agreement.least,
            "points": series.read(since),
        }

    def _answered(self, answer: Classified) -> None:
        self.history.answered(answer.seconds)

    def _settled(self, story: QueryStory) -> None:
        self.stories.add(story)
        if (seconds := story.without_backups) is not None:
            self.history.without_backups(seconds)

    async def _keep(self) -> None:
        """Until cancelled: an interval after the other, at the same times however long each takes."""
        began, number = time.monotonic(), 0
        self.history.begin(began)
        while True:
            number = max(number + 1, int((time.monotonic() - began) / self.interval))
            await asyncio.sleep(max(0.0, began + number * self.interval - time.monotonic()))
            self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        """An interval is over."""
        plane, stats, view = self._plane, self._plane.dispatcher.stats, self._plane.view()
        counts = {f"answers_{source.value}": float(stats.answered[source]) for source in Source}
        counts["rejected"] = float(stats.rejected.total())
        gauges = {
            "agreement": plane.agreement.recent,
            "in_flight": plane.in_flight,
            "queued": view.waiting,
            "workers_up": len(view.workers),
            "workers_wanted": plane.workers_wanted,
        }
        self.history.tick(now, Totals(counts, stats.single_seconds, stats.extra_seconds), gauges)
