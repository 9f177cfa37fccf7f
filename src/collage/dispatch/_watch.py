"""Things to look at later: exact times in a heap, and equal delays in first-in-first-out lists."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Generic, TypeVar

T = TypeVar("T")
NEVER = math.inf

_Due = Callable[[Any, float], None]


class Timers:
    """Calls at exact times. A timer is not taken back: what it calls looks whether there is still something to do.

    `alive` says so beforehand, so that the heap can be cleared of the others when they are most of it.
    """

    def __init__(self, alive: Callable[[Any], bool]) -> None:
        self._heap: list[tuple[float, int, _Due, Any]] = []
        self._order = count()
        self._alive = alive
        self._crowded = 256

    def add(self, when: float, due: _Due, what: Any) -> None:
        """`due(what, now)` is called once `when` has come."""
        if len(self._heap) >= self._crowded:
            # In place: `run` may be going through it.
            self._heap[:] = [entry for entry in self._heap if self._alive(entry[3])]
            heapq.heapify(self._heap)
            self._crowded = max(256, 2 * len(self._heap))
        heapq.heappush(self._heap, (when, next(self._order), due, what))

    @property
    def next(self) -> float:
        """When the next one is due; NEVER without one."""
        heap = self._heap
        while heap:
            if self._alive(heap[0][3]):
                return heap[0][0]
            heapq.heappop(heap)
        return NEVER

    def run(self, now: float) -> None:
        """Call all that are due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, due, what = heapq.heappop(heap)
            if self._alive(what):
                due(what, now)


class Watch(Generic[T]):
    """Things that began one after the other and are all looked at after the same delay, which may change.

    `over` says of a thing that nobody needs to look at it any more.
    """

    def __init__(self, over: Callable[[T], bool]) -> None:
        self._things: deque[tuple[float, T]] = deque()
        self._over = over

    def add(self, began: float, thing: T) -> None:
        """`began` never goes back."""
        self._things.append((began, thing))

    def next(self, delay: float) -> float:
        """When the oldest is due; NEVER without one."""
        things, over = self._things, self._over
        while things:
            began, thing = things[0]
            if not over(thing):
                return began + delay
            things.popleft()
        return NEVER

    def may_be_due(self, delay: float, now: float) -> bool:
        """False where `due` would give nothing: a quick look."""
        things = self._things
        return bool(things) and things[0][0] + delay <= now

    def due(self, delay: float, now: float) -> Iterator[T]:
        """Those that are due, oldest first; they are not watched any longer."""
        while self.next(delay) <= now:
            yield self._things.popleft()[1]
