"""A clock for a driver whose time passes when the test says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """Virtual time. Timers of the same moment ring in the order in which they were set."""

    class Timer:
        def __init__(self, callback: Callable[[], object]) -> None:
            self.callback: Callable[[], object] | None = callback

        def cancel(self) -> None:
            self.callback = None

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Clock.Timer]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Clock.Timer:
        timer = Clock.Timer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def move_to(self, when: float) -> None:
        """Past all timers until then."""
        while self._timers and self._timers[0][0] <= when:
            self._ring()
        self.now = when

    def run(self, done: Callable[[], bool]) -> None:
        """From timer to timer, until it is done."""
        while not done():
            self._ring()

    def _ring(self) -> None:
        when, _, timer = heapq.heappop(self._timers)
        self.now = max(self.now, when)
        if timer.callback is not None:
            timer.callback()
