"""What goes into the dispatcher and what comes out of it: plain values, no I/O, no images, no clock.

Times are seconds on any clock that never goes back; identifiers are chosen by the caller (queries, workers) or by the
dispatcher (jobs). All are NamedTuples: immutable, and cheap enough for a simulator that makes millions of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

QueryId = int
JobId = int
WorkerId = str


class Role(StrEnum):
    """A model that a worker may run."""

    __hash__ = str.__hash__  # an enumeration's own is a Python call, and roles and sources are keys everywhere

    SINGLE = "single"
    COLLAGE = "collage"
    CHEAP = "cheap"
    BATCH = "batch"
    PARITY = "parity"
    LEARNED = "learned"  # the single itself, on an image that a learned code has made


class Source(StrEnum):
    """Which job answered. All but the first two are degraded.

    degraded: the answer does not come from the single's own model. shared: its jobs may hold several queries. joint: an
    answer can be read only once the singles of all others in the group are there. role: the model that a job of this
    kind runs: a replica is a second run of the single.
    """

    SINGLE = "single"
    REPLICA = "replica"
    COLLAGE = "collage"
    CHEAP = "cheap"
    BATCH = "batch"
    PARITY = "parity"
    LEARNED = "learned"

    __hash__ = str.__hash__

    degraded: bool
    joint: bool
    shared: bool
    role: Role

    def __init__(self, value: str) -> None:
        self.degraded = value not in ("single", "replica")
        self.joint = value in ("parity", "learned")
        self.shared = self.joint or value in ("collage", "batch")
        self.role = Role.SINGLE if value == "replica" else Role(value)


class WorkerState(StrEnum):
    """What a driver tells the dispatcher of a worker."""

    UP = "up"  # joins, or is back: may be given jobs
    DRAINING = "draining"  # finishes what it runs, is given nothing new
    DOWN = "down"  # gone: what it ran is lost and must be covered


class Why(StrEnum):
    """Why a query got no answer."""

    DEADLINE = "deadline"
    OVERLOAD = "overload"  # the bounded queue is full
    FAILED = "failed"  # every attempt failed, as often as the policy allows
    NO_WORKERS = "no_workers"
    CANCELLED = "cancelled"  # the client went away


class Outcome(NamedTuple):
    """What a finished job says of one of its queries, in the order of `Start.queries`.

    known: False where the model gave no class (an "unknown" tile, NaN, a tile without a detection).
    confidence: highest class probability, 0..1; 0 where unknown.
    """

    known: bool
    confidence: float


class Start(NamedTuple):
    """Run a job. For a collage, a query's position in `queries` is its tile, row by row; further tiles are blank.

    capacity: queries that such a job can hold; where a code comes in several sizes, it says which model to run.
    """

    job: JobId
    worker: WorkerId
    source: Source
    queries: tuple[QueryId, ...]
    capacity: int = 1


class Cancel(NamedTuple):
    """Nobody needs this job any more. Its slot stays taken until the engine says completed, failed or freed."""

    job: JobId


class Decode(NamedTuple):
    """Read this position of a joint job that has ended, with the others' singles, and say by `decoded` what came of it.

    To be done at once, before the actions that follow: they may settle the others.
    """

    job: JobId
    position: int


class Answer(NamedTuple):
    """The query's one outcome: the output at `position` of `job`.

    of: the query that the job was run for, where it is another one with the same image; it is not settled yet.
    """

    query: QueryId
    source: Source
    confidence: float
    job: JobId
    position: int
    of: QueryId | None = None


class Reject(NamedTuple):
    """The query's one outcome, where it is no answer."""

    query: QueryId
    why: Why


class Settled(NamedTuple):
    """No job of this query will start any more and none that matters is running: forget its image and outputs.

    Comes after Answer or Reject; for a control only once its losers are done, so that a driver can compare their
    outputs with the answer. Where others of its group may need its singles' scores, once they cannot any more.
    """

    query: QueryId
    control: bool


Action = Start | Cancel | Decode | Answer | Reject | Settled
