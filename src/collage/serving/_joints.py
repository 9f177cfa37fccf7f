"""What parities and learned codes have given: an output is read only once the singles of all others are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from collage.dispatch import JobId, Outcome, QueryId
from collage.serving._coding import Coding
from collage.serving._kept import FloatArray, Job, Query

_log = logging.getLogger(__name__)


class Joints:
    """The joint jobs of one driver that have ended. queries: the driver's own, those that are not settled."""

    def __init__(self, coding: Coding, queries: Mapping[QueryId, Query]) -> None:
        self._coding = coding
        self._queries = queries
        self._ended: dict[JobId, tuple[Job, FloatArray]] = {}

    def keep(self, job: JobId, kept: Job, output: FloatArray) -> None:
        """Until one of its queries is settled: none is before the dispatcher has no more use for it."""
        for query in kept.queries:
            if (member := self._queries.get(query)) is not None:
                member.joints.append(job)
                self._ended[job] = (kept, output)

    def read(self, job: JobId, position: int) -> Outcome:
        """The answer at a position of a joint job, out of its output and the singles' scores of all others."""
        try:
            kept, output = self._ended[job]
            present = {
                other: scores
                for other, query in enumerate(kept.queries)
                if other != position and (scores := self._single_scores(query)) is not None
            }
            answer = self._coding.of(kept)[1].decode(output, range(len(kept.queries)), present)[position]
        except Exception as error:  # nothing can be read; whoever asked must be told so in any case
            _log.warning("job %s: position %s could not be decoded: %r", job, position, error)
            return Outcome(False, 0.0)
        if (query := self._queries.get(kept.queries[position])) is not None:
            query.answers[job] = (kept, answer)
        return Outcome(True, answer.confidence)

    def settled(self, query: Query) -> None:
        """Nobody needs the jobs that it was in any more."""
        for job in query.joints:
            self._ended.pop(job, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._ended.clear()

    def _single_scores(self, query: QueryId) -> FloatArray | None:
        kept = self._queries.get(query)
        answers = kept.answers.values() if kept is not None else ()
        return next((answer.scores for job, answer in answers if not job.source.degraded), None)
