"""The books of one run: when each open query came and what its image is, and what has been counted. Flat in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from collage.dispatch import Answer, JobId, Outcome, QueryId, Reject, Source, Start, Why
from collage.simulation._again import Again
from collage.simulation._histogram import HistogramBuilder
from collage.simulation._outcomes import ALL_RIGHT, Table

_CHUNK = 4096


class Tally:
    """Counts the queries from number `warmup` on, `queries` of them; everything of a query is forgotten once settled.

    tables: what a source says of the images, by the capacity of its jobs too; where absent, everything is right.
    again: which images come again.
    """

    def __init__(
        self,
        warmup: int,
        queries: int,
        tables: Mapping[tuple[Source, int], Table] | None,
        rng: np.random.Generator,
        again: Again | None = None,
    ) -> None:
        self.first, self.end = warmup, warmup + queries
        self.latencies, self.rounds = HistogramBuilder(), HistogramBuilder()
        self.answered: Counter[Source] = Counter()
        self.refused: Counter[Why] = Counter()
        self.right_given = self.right_single = 0
        self.gained: Counter[int] = Counter()  # by image: answers that are right, less the single's that would be
        self.left = queries  # counted ones without an outcome
        # Not settled: when it came, its image, which jobs were right about it.
        self._open: dict[QueryId, tuple[float, int, dict[JobId, bool]]] = {}
        self._tables = tables
        self.images = len(tables[Source.SINGLE, 1].right) // tables[Source.SINGLE, 1].tiles if tables else 0
        self._drawn: list[int] = []
        self._rng = rng
        self._again = again

    def entered(self, query: QueryId, arrived: float) -> QueryId | None:
        """A query has come. Returns the first query of its image, by which repeats are known; None without them."""
        if self._again is None:
            self._open[query] = (arrived, self._draw(), {})
            return None
        first, image = self._again.shows(query, self._draw)
        self._open[query] = (arrived, image, {})
        return first

    def _draw(self) -> int:
        image = 0
        if self._tables is not None:
            if not self._drawn:
                self._drawn = self._rng.integers(self.images, size=_CHUNK).tolist()
            image = self._drawn.pop()
        return image

    def said(self, start: Start) -> Sequence[Outcome]:
        """What a job says of each of its queries."""
        if self._tables is None:
            return ALL_RIGHT.outcomes * len(start.queries)
        return [self.read(start, position) for position in range(len(start.queries))]

    def read(self, start: Start, position: int) -> Outcome:
        """What a job says of one of its queries. Of one that is settled nobody will ask."""
        if self._tables is None:
            return ALL_RIGHT.outcomes[0]
        table = self._tables[start.source, start.capacity]
        known = self._open.get(start.queries[position])
        if known is None:
            return table.outcomes[0]
        _, image, right = known
        row = table.row(image, position)
        right[start.job] = table.right[row]
        return table.outcomes[row]

    def answer(self, answer: Answer, now: float) -> None:
        """A query has its answer."""
        query = answer.query
        if not self.first <= query < self.end:
            return
        arrived, image, rights = self._open[query]
        self.left -= 1
        self.latencies.add(now - arrived)
        self.answered[answer.source] += 1
        if self._tables is None:
            self.right_given += 1
            self.right_single += 1
            return
        if answer.of is not None:
            rights = self._open[answer.of][2]
        single, right = self._tables[Source.SINGLE, 1], rights[answer.job]
        should = single.right[single.row(image, 0)]
        self.right_single += should
        self.right_given += right
        if right != should:
            self.gained[image] += right - should

    def reject(self, reject: Reject) -> None:
        """A query will have none."""
        if self.first <= reject.query < self.end:
            self.left -= 1
            self.refused[reject.why] += 1

    def settle(self, query: QueryId) -> None:
        """Nothing of it is needed any more."""
        del self._open[query]
