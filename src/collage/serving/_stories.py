"""The queries whose stories the first page tells: the last ones, the last that a backup answered, and the slowest."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

from collage.dispatch import Source, Why
from collage.serving._story import JobStory, QueryStory

_KEPT = 8  # of each kind
_SLOT_SECONDS, _SLOTS = 60.0, 5  # the slowest are those of the last minutes


class Stories:
    """Keeps a few of the queries that are over. Memory is bounded, however many there are."""

    def __init__(self) -> None:
        self._last: deque[QueryStory] = deque(maxlen=_KEPT)
        self._backed: deque[QueryStory] = deque(maxlen=_KEPT)
        self._slots: deque[tuple[float, list[tuple[float, int, QueryStory]]]] = deque(maxlen=_SLOTS)  # since when, heap

    def add(self, story: QueryStory) -> None:
        """A query is over. In the order in which they end."""
        if story.seconds is None or story.at is None:
            return
        self._last.append(story)
        if isinstance(story.outcome, Source) and story.outcome is not Source.SINGLE:
            self._backed.append(story)
        if story.outcome is Why.CANCELLED:
            return  # how long it took says when its client left
        if not self._slots or story.at >= self._slots[-1][0] + _SLOT_SECONDS:
            self._slots.append((story.at, []))
        heap = self._slots[-1][1]
        push = heapq.heappush if len(heap) < _KEPT else heapq.heappushpop
        push(heap, (story.seconds, story.query, story))

    def told(self, now: float) -> dict[str, list[dict[str, Any]]]:
        """`last`, `backed` and `slowest` (of the last five minutes): at most eight each; two of them newest first.

        Times in a story are seconds since its query was submitted.
        """
        slow = [entry for since, heap in self._slots if now - since < _SLOTS * _SLOT_SECONDS for entry in heap]
        return {
            "backed": [_query(story, now) for story in reversed(self._backed)],
            "slowest": [_query(story, now) for *_, story in heapq.nlargest(_KEPT, slow)],
            "last": [_query(story, now) for story in reversed(self._last)],
        }


def _query(story: QueryStory, now: float) -> dict[str, Any]:
    return {
        "query": story.query,
        "age": round(now - story.entered, 1),
        "outcome": None if story.outcome is None else story.outcome.value,
        "seconds": None if story.seconds is None else round(story.seconds, 5),
        "control": story.control,
        "shares_with": story.of,
        "jobs": [_job(job, story) for job in story.jobs],
    }


def _job(job: JobStory, story: QueryStory) -> dict[str, Any]:
    return {
        "source": job.source.value,
        "worker": job.worker,
        "queries": job.queries,
        "began": round(job.began - story.entered, 5),
        "ended": None if job.ended is None else round(job.ended - story.entered, 5),
        "how": job.how,
        "won": job.job == story.winner,
    }
