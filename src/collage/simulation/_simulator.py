"""Virtual time: one dispatcher, an event heap, modelled workers. The dispatcher is the one that serves."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import (
    Action,
    Answer,
    Cancel,
    Decode,
    Dispatcher,
    JobId,
    Outcome,
    Role,
    Source,
    Start,
    WorkerId,
    WorkerState,
)
from collage.simulation._service_times import ServiceTimes, WorkerTimes


class CallCost(NamedTuple):
    """What a call of a model takes: ratio x (a draw of the single's) + overhead, seconds."""

    ratio: float = 1.0
    overhead: float = 0.0

    def of(self, drawn: float) -> float:
        """Seconds, where a single's call was drawn to take `drawn`."""
        return drawn * self.ratio + self.overhead


@dataclass(frozen=True)
class SimulatedRun:
    """What n queries met. latencies: float64 (n,), seconds, NaN for a query that was rejected; sources: by query."""

    latencies: NDArray[np.float64]
    sources: Sequence[Source | None]


class Simulator:
    """Workers, one job at a time each, whose times are drawn; cancelling a running job does `nothing`, or frees it.

    `outcome(source, query)` says what a job's model says of a query; by default it is always known, at confidence 1.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        times: ServiceTimes,
        roles: Mapping[WorkerId, frozenset[Role]],
        rng: np.random.Generator,
        *,
        costs: Mapping[Role, CallCost] | None = None,
        cancels: bool = False,
        outcome: Callable[[Source, int], Outcome] = lambda source, query: Outcome(True, 1.0),
    ) -> None:
        self.dispatcher = dispatcher
        self.now = 0.0
        self._streams: dict[WorkerId, WorkerTimes] = {
            name: times.worker(own) for name, own in zip(roles, rng.spawn(len(roles)), strict=True)
        }
        self._costs = dict(costs or {})
        self._cancels = cancels
        self._outcome = outcome
        self._ends: list[tuple[float, JobId]] = []  # heap
        self._running: dict[JobId, Start] = {}
        self._joints: dict[JobId, Start] = {}  # that may yet have to be read
        self._arrived: list[float] = []
        self._latencies: list[float] = []
        self._sources: list[Source | None] = []
        for name, own in roles.items():
            self._do(dispatcher.worker(name, WorkerState.UP, own, 1, 0.0))

    def run(
        self, arrivals: NDArray[np.float64], progress: Callable[[int], None] = lambda arrived: None
    ) -> SimulatedRun:
        """Send a query at each of the arrivals (n,), seconds, rising. Ends when all have an outcome and no job runs.

        `progress` is told the number of arrivals before each of them.
        """
        self._arrived = arrivals.tolist()
        count = len(self._arrived)
        self._latencies, self._sources = [float("nan")] * count, [None] * count
        arrived = 0
        while arrived < count or self._ends or self.dispatcher.view(self.now).in_flight:
            arrival = self._arrived[arrived] if arrived < count else float("inf")
            end = self._ends[0][0] if self._ends else float("inf")
            wake = self.dispatcher.next_tick
            if wake is not None and wake < arrival and wake < end:
                self.now = max(self.now, wake)
                self._do(self.dispatcher.tick(self.now))
            elif end <= arrival:
                self.now, job = heapq.heappop(self._ends)
                self._finish(job)
            elif arrived < count:
                progress(arrived)
                self.now = arrival
                self._do(self.dispatcher.submit(arrived, "", None, True, arrival))
                arrived += 1
            else:
                raise RuntimeError("queries are left, and nothing will ever happen")
        return SimulatedRun(np.asarray(self._latencies), self._sources)

    def _finish(self, job: JobId) -> None:
        start = self._running.pop(job, None)
        if start is not None:
            outcomes = [self._outcome(start.source, query) for query in start.queries]
            self._do(self.dispatcher.completed(job, outcomes, self.now))

    def _do(self, actions: Sequence[Action]) -> None:
        freed, read = [], []
        for action in actions:  # by isinstance: patterns take twice as long, and this is the inner loop
            if isinstance(action, Start):
                job, source = action.job, action.source
                self._running[job] = action
                if source.joint:
                    self._joints[job] = action
                seconds = self._streams[action.worker].draw(self.now)
                cost = self._costs.get(source.role)
                heapq.heappush(self._ends, (self.now + (cost.of(seconds) if cost else seconds), job))
            elif isinstance(action, Answer):
                self._latencies[action.query] = self.now - self._arrived[action.query]
                self._sources[action.query] = action.source
            elif isinstance(action, Cancel):
                if self._cancels and self._running.pop(action.job, None) is not None:
                    freed.append(action.job)
            elif isinstance(action, Decode):
                read.append(action)
        for job, position in read:
            start = self._joints[job]
            outcome = self._outcome(start.source, start.queries[position])
            self._do(self.dispatcher.decoded(job, position, outcome, self.now))
        for job in freed:
            self._do(self.dispatcher.freed(job, self.now))
