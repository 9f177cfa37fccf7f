"""What a dispatcher has done so far, and what it is doing now. Plain values, for metrics and pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from collage.dispatch._events import Role, Source, Why, WorkerId


@dataclass
class DispatchStats:
    """Counts since the start. Seconds are worker-seconds of jobs that have ended."""

    submitted: int = 0
    answered: Counter[Source] = field(default_factory=Counter)
    rejected: Counter[Why] = field(default_factory=Counter)
    started: Counter[Source] = field(default_factory=Counter)  # jobs
    failed: Counter[Source] = field(default_factory=Counter)  # jobs: no usable output, or lost with their worker
    backups_sent: int = 0  # jobs beyond the first single of a query and those that cover a failure
    backups_won: int = 0  # queries answered by one
    tiles_sent: int = 0  # queries in them
    resent: int = 0  # of the backups: by the second line
    budget_exhausted: int = 0  # backups wanted and not allowed
    shared: int = 0  # queries that shared the jobs of another with the same image
    covered: int = 0  # singles sent again because a job failed, or its worker vanished or went silent
    late_answers: int = 0  # came when the query had its outcome
    unknown: int = 0  # tiles that a backup had nothing to say of
    workers_lost: int = 0  # workers that went while they were in use: not drained before
    singles_ended: int = 0  # queries of the jobs whose seconds are these, in whatever way they ended
    single_seconds: float = 0.0  # first singles, and those that cover a failure
    extra_seconds: float = 0.0  # everything else

    @property
    def extra_work(self) -> float:
        """Worker-seconds beyond the singles', divided by the singles'."""
        return self.extra_seconds / self.single_seconds if self.single_seconds else 0.0


class WorkerView(NamedTuple):
    """A worker as the dispatcher sees it.

    state: "idle", "busy", "pausing" (after failures), "silent" (a job is long overdue), "draining". speed: median time
    of recent singles of all workers over this one's; 1 is usual, None not known. running: seconds of its oldest job.
    """

    worker: WorkerId
    state: str
    roles: frozenset[Role]
    slots: int
    jobs: int
    running: float
    speed: float | None
    done: int
    failed: int


class DispatchView(NamedTuple):
    """The moment. Seconds; None: not learnt yet, or not of this policy."""

    waiting: int  # queries without a running single
    in_flight: int  # queries without an outcome
    groups: int  # groups with an open query in them
    patience: float | None  # how long singles are preferred
    trigger: float | None  # age at which a backup is wanted
    balance: float  # extra work that may be spent now, worker-seconds
    paused: bool  # no backup starts: the last ones failed, vanished or went silent
    workers: tuple[WorkerView, ...]
