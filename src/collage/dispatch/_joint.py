"""Backups whose output says something of a whole group at once: what can be read of it, and how long it is of use.

A parity's or a learned code's job gives back one query's answer, once singles have answered all others of its group. So
it is kept when it has ended. `Decode` asks the driver for a position; `decoded` says what came of it. Until the job is
let go, none of its queries is settled: their singles' scores may be needed. It is let go as soon as no query in it that
wants an answer can get one from it any more: all are answered, or two of them will never be.
"""

from __future__ import annotations

from collections.abc import Callable

from collage.dispatch._events import Decode, JobId
from collage.dispatch._ledger import Ledger
from collage.dispatch._records import Job, Query


class Joints:
    """The joint jobs of one dispatcher, running and kept.

    without: is told of each query without an outcome that a job will give nothing.
    """

    def __init__(self, ledger: Ledger, without: Callable[[Query, Job, float], None]) -> None:
        self._ledger = ledger
        self._without = without
        self._asked: dict[tuple[JobId, int], Job] = {}  # the driver has not said yet

    def arrived(self, job: Job, now: float) -> None:
        """Its output is there, its queries are detached from it."""
        job.arrived = True
        self._look(job, now)
        for position, query in enumerate(job.queries):
            if query.done:
                self._ledger.settle(query)
            elif position not in job.asked and job in query.joints:
                self._without(query, job, now)  # not yet, at least

    def look(self, now: float) -> None:
        """Go through the jobs that something has happened to since the last time."""
        while self._ledger.touched:
            _, job = self._ledger.touched.popitem()
            self._look(job, now)

    def release(self, job: Job) -> None:
        """It is of no use any more: its queries need not wait for each other."""
        for position, query in enumerate(job.queries):
            if (job.id, position) not in self._asked:
                self._let_go(query, job)

    def decoded(self, job: JobId, position: int) -> tuple[Query, Job] | None:
        """The driver has read a position: whose it is. None where nobody asked."""
        found = self._asked.pop((job, position), None)
        if found is None:
            return None
        query = found.queries[position]
        if not found.kept:
            query.joints -= {found}
        self._ledger.touched[found.id] = found
        return query, found

    def _look(self, job: Job, now: float) -> None:
        if not job.kept:
            return
        useful = False
        for position, query in enumerate(job.queries):
            if position in job.asked or not _wants(query):
                continue
            others = [other for other in job.queries if other is not query]
            if job.arrived and all(other.answered for other in others):
                job.asked |= {position}
                self._asked[job.id, position] = job
                self._ledger.say(Decode(job.id, position))
            else:
                useful |= all(other.answered or _may_answer(other) for other in others)
        if not useful:
            job.kept = False
            self.release(job)
            for position, query in enumerate(job.queries):
                if not query.done and position not in job.asked:
                    self._without(query, job, now)

    def _let_go(self, query: Query, job: Job) -> None:
        query.joints -= {job}
        if query.done:
            self._ledger.settle(query)


def _wants(query: Query) -> bool:
    """An answer, or for a control the comparison."""
    return query.control if query.done else query.held is None


def _may_answer(query: Query) -> bool:
    """Whether a single of it may still end with an answer: one that runs, or waits for a worker."""
    return query.singles > 0 or query.waiting
