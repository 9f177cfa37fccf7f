"""How fast a worker is, by the clock: full speed, slower for a while, or not at all (a pause).

A job needs seconds at full speed. While its worker is k times slower, it gets on with 1/k of that; a job that is
running when slowness comes is slowed from then on. Phases go by the clock, whatever a worker is given, so that every
policy meets the same ones. Several kinds of slowness multiply.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence


class Phases:
    """Two speeds in turn, for ever: `first` until the first change, then the other, and so on.

    speeds: the two, of 1. lengths: the next length of a phase at that speed, seconds. Shared by all workers of a host.
    """

    def __init__(self, speeds: tuple[float, float], first: int, lengths: Sequence[Callable[[], float]]) -> None:
        self._speeds, self._lengths = speeds, lengths
        self._next = first  # whose phase is generated next
        self._phases: deque[tuple[float, float]] = deque()  # end and speed, from the oldest that is still needed
        self._end = 0.0
        self._grow()

    def _grow(self) -> None:
        self._end += self._lengths[self._next]()
        self._phases.append((self._end, self._speeds[self._next]))
        self._next = 1 - self._next

    def forget(self, before: float) -> None:
        """Nobody will ask for a time before this one any more."""
        phases = self._phases
        while phases[0][0] <= before:
            if len(phases) == 1:
                self._grow()
            phases.popleft()

    def at(self, when: float) -> tuple[float, float]:
        """Speed from `when` on, and until when."""
        while self._end <= when:
            self._grow()
        return next((speed, end) for end, speed in self._phases if end > when)


def finish(phases: Sequence[Phases], start: float, work: float) -> float:
    """When a job that starts at `start` is done that needs `work` seconds at full speed. `start` never goes back."""
    for each in phases:
        each.forget(start)
    now = start
    while True:
        speed, until = 1.0, math.inf
        for each in phases:
            own, end = each.at(now)
            speed, until = speed * own, min(until, end)
        if speed > 0 and now + work / speed <= until:
            return now + work / speed
        work -= (until - now) * speed
        now = until
