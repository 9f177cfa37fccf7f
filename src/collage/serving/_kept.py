"""What the driver keeps of queries and jobs, and what it needs of a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from collage.codes import TileAnswer
from collage.dispatch import JobId, QueryId, Source, Why, WorkerId
from collage.serving._story import JobStory, QueryStory

FloatArray = NDArray[np.float32]


class Timer(Protocol):
    """A callback that can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the driver needs of an event loop; any asyncio loop is one."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class Answered(NamedTuple):
    """A query's answer: scores (classes,), in the single's own form.

    at: when it was given; started, ended: when its job was, and when that job's output was there; all on the clock.
    """

    scores: FloatArray
    confidence: float
    source: Source
    at: float
    started: float
    ended: float


Result = Answered | Why


@dataclass(eq=False, slots=True)
class Query:
    """A query that is not settled."""

    single: FloatArray  # (C, H, W)
    tiles: Sequence[FloatArray]  # (C, H', W') for each backup code; empty: they take the single's
    result: asyncio.Future[Result]
    story: QueryStory
    request: str  # its id, for the log
    answers: dict[JobId, tuple[Job, TileAnswer]] = field(default_factory=dict)
    collages: list[JobId] = field(default_factory=list)  # it was in, and that came back; for watchers
    joints: list[JobId] = field(default_factory=list)  # parities it was in, and that came back


@dataclass(eq=False, slots=True)
class BackupJob:
    """A collage that has come back, for those who watch. `used` grows as its answers are given."""

    job: JobId
    canvas: FloatArray  # (1, C, H, W), normalised
    queries: tuple[QueryId, ...]
    answers: dict[int, TileAnswer]  # by position; absent: unknown
    capacity: int  # tiles
    used: set[int] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Job:
    """A job that runs."""

    source: Source
    worker: WorkerId
    queries: tuple[QueryId, ...]
    capacity: int
    story: JobStory
    canvas: FloatArray | None = None  # kept for watchers only


@dataclass(eq=False, slots=True)
class Executed:
    """Jobs that gave an output. seconds: on their workers."""

    count: int = 0
    seconds: float = 0.0
