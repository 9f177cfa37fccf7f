"""What became of a query, step by step, as a watcher (the first page) is told it. Times are on the driver's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from collage.dispatch import JobId, QueryId, Source, Why, WorkerId

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from collage.serving.traces._traces import QueryTrace

How = Literal["running", "done", "failed", "lost", "cancelled"]


@dataclass(eq=False, slots=True)
class JobStory:
    """One job. All queries in it share this, and it goes on after they have their answers, until the job has ended.

    queries: how many are in it. how: "failed" (no usable output), "lost" (with its worker), "cancelled" (and stopped),
    "running" (or, where it has ended: the driver closed before it did).
    """

    job: JobId
    source: Source
    worker: WorkerId
    queries: int
    began: float
    ended: float | None = None
    how: How = "running"
    sent: float | None = None  # encoded, and handed to its worker
    back: float | None = None  # its output came, to be decoded
    traces: tuple[QueryTrace, ...] = ()  # of its queries, where they are traced
    span: Span | None = None  # what the first of them has of it, and a remote worker's own spans are below

    def end(self, now: float, how: How) -> None:
        """It runs no more. Only the first time counts."""
        if self.ended is None:
            self.ended, self.how = now, how


@dataclass(eq=False, slots=True)
class QueryStory:
    """One query, from its submission on.

    query: a number that no other query of the gateway has. outcome: who answered, or why nobody did; None: not yet.
    winner: the job that answered. of: the query whose jobs this one shared, as both showed the same image. control: its
    losers ran to the end.
    """

    query: QueryId
    entered: float
    jobs: list[JobStory] = field(default_factory=list)
    outcome: Source | Why | None = None
    at: float | None = None
    winner: JobId | None = None
    of: QueryId | None = None
    control: bool = False
    trace: QueryTrace | None = None

    def end(self, now: float, outcome: Source | Why, winner: JobId | None = None, of: QueryId | None = None) -> None:
        """It has its outcome."""
        self.outcome, self.at, self.winner, self.of = outcome, now, winner, of

    @property
    def seconds(self) -> float | None:
        """From submission to outcome."""
        return None if self.at is None else self.at - self.entered

    @property
    def without_backups(self) -> float | None:
        """Of a control: seconds until its first single had ended well; where none has, for how long one ran at least.

        None: it is no control, or nothing can be said.
        """
        if not self.control:
            return None
        singles = [job for job in self.jobs if job.source is Source.SINGLE and job.ended is not None]
        done = [job.ended for job in singles if job.how == "done" and job.ended is not None]
        if done:
            return min(done) - self.entered
        return max((job.ended for job in singles if job.ended is not None), default=self.entered) - self.entered or None
