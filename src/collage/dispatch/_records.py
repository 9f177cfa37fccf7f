"""What the dispatcher keeps of each query and each running job."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from collage.dispatch._events import Answer, JobId, QueryId, Source, WorkerId


@dataclass(eq=False, slots=True)
class Query:
    """A query from its submission until it is settled."""

    id: QueryId
    key: str
    deadline: float | None
    accept_degraded: bool
    control: bool
    entered: float  # when it was submitted
    started: float = -1.0  # when its first single did; below 0: not yet
    waiting: bool = True  # for a worker to run its single
    attempts: int = 0  # singles started
    singles: int = 0  # of its jobs: runs of the single's model that may still answer
    jobs: set[JobId] = field(default_factory=set)  # running
    held: Answer | None = None  # a backup's answer, while the single is preferred
    done: bool = False  # it has its outcome
    grouped: int = 0  # backups of the policy's code that it was in
    resent: bool = False  # by the second line
    hurried: bool = False  # its deadline is so near that its backup must start now
    answered: bool = False  # a single's output for it is there, whatever its outcome
    joints: frozenset[Job] = frozenset()  # it is in, running or kept
    refused: bool = False  # a backup was wanted and the budget did not allow it; counted once
    same: Hashable = None  # what queries that may share its jobs have in common; None: it shares nothing
    followers: tuple[Follower, ...] = ()  # that share its jobs, and have no outcome yet
    left: bool = False  # it has its own outcome, and its jobs go on for its followers
    earlier: Query | None = None  # of the same image, and late when this one came: each may answer the other
    later: Query | None = None

    @property
    def soonest(self) -> float | None:
        """The first deadline of those that wait for its jobs."""
        own = None if self.left else self.deadline
        if not self.followers:
            return own
        return min((when for when in (own, *(f.deadline for f in self.followers)) if when is not None), default=None)


@dataclass(eq=False, slots=True)
class Follower:
    """A query that has no jobs of its own: its image is that of another, which is in flight."""

    id: QueryId
    deadline: float | None
    leader: Query
    done: bool = False  # it has its outcome


@dataclass(eq=False, slots=True)
class Job:
    """A job from its start until the engine says that its slot is free."""

    id: JobId
    source: Source
    worker: WorkerId
    queries: tuple[Query, ...]
    started: float
    extra: bool  # paid from the budget
    cost: float  # seconds taken from the budget as it started
    capacity: int = 1  # queries it could hold
    kept: bool = False  # joint ones: may still give an answer, now or when others' singles have ended
    arrived: bool = False  # joint ones: the output is there
    asked: frozenset[int] = frozenset()  # joint ones: positions that were to be decoded
    silent_after: float | None = None  # seconds after which it was taken for lost, and what it was to answer covered

    def seconds(self, now: float) -> float:
        """How long it has run: as work, and as something to learn from, no longer than until it went silent."""
        return now - self.started if self.silent_after is None else self.silent_after
