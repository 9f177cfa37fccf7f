"""Virtual time with several gateways: each has a dispatcher of its own, none of them changed, over one event heap.

As in the simulator of one gateway, events are handled one after the other. What differs is what a gateway knows of the
workers: that is the pool's (`_pools.py`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from collage.dispatch import Action, Answer, Cancel, Dispatcher, JobId, QueryId, Reject, Settled, Start
from collage.simulation._arrivals import OpenLoop
from collage.simulation._histogram import HistogramBuilder
from collage.simulation._tally import Tally

_NEVER = float("inf")
_STEP = 1000  # arrivals between two words of progress


class Desk:
    """One gateway: its dispatcher, and when that wants to be woken."""

    __slots__ = ("dispatcher", "free_at", "number")

    def __init__(self, number: int, dispatcher: Dispatcher) -> None:
        self.number, self.dispatcher = number, dispatcher
        self.free_at = 0.0  # of its serial part


class Workers(Protocol):
    """What the desks need of a pool."""

    def start(self, desk: Desk, start: Start) -> None:
        """A gateway sends a job to the worker that its dispatcher chose."""

    def cancel(self, desk: Desk, job: JobId) -> None:
        """Nobody needs it any more."""


class Desks:
    """The event loop. `begin` comes first; on_window is told when the counted queries begin and end to arrive.

    chosen: which gateway gets the next query. serial: seconds that a gateway spends on each query before it is in.
    """

    def __init__(
        self,
        desks: Sequence[Desk],
        arrivals: OpenLoop,
        tally: Tally,
        *,
        chosen: Callable[[], int],
        serial: float = 0.0,
        on_window: Callable[[], None] = lambda: None,
        progress: Callable[[int], None] = lambda arrived: None,
    ) -> None:
        self.desks = desks
        self.now = 0.0
        self.busiest = HistogramBuilder()  # latencies of the first gateway's queries, which is the busiest
        self._arrivals, self._tally, self._chosen, self._serial = arrivals, tally, chosen, serial
        self._on_window, self._progress = on_window, progress
        self._arrived = 0
        self._came: dict[QueryId, float] = {}  # of the first gateway, and counted
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = count()
        self._told: deque[tuple[Desk, Callable[..., Sequence[Action]], tuple[Any, ...]]] = deque()
        self._wakes = [_NEVER] * len(desks)

    def begin(self, workers: Workers) -> None:
        """With these workers."""
        self._workers = workers
        self.go_on()

    # For the pool.

    def at(self, when: float, call: Callable[[Any], None], what: Any) -> None:
        """Call `call(what)` at that time."""
        heapq.heappush(self._heap, (when, next(self._order), call, what))

    def tell(self, desk: Desk, event: Callable[..., Sequence[Action]], *details: Any) -> None:
        """Tell a gateway's dispatcher, once what is being done is done."""
        self._told.append((desk, event, details))

    def ended(self, desk: Desk, start: Start) -> None:
        """A job's output is there."""
        self._told.append((desk, desk.dispatcher.completed, (start.job, self._tally.said(start))))

    def go_on(self) -> None:
        """Do what was told meanwhile."""
        told = self._told
        while told:
            desk, event, details = told.popleft()
            self._do(desk, event(*details, self.now))

    # The loop.

    def run(self) -> None:
        """Until every counted query has its outcome."""
        heap, arrivals, tally, wakes = self._heap, self._arrivals, self._tally, self._wakes
        while tally.left:
            wake = min(wakes)
            first, enters = heap[0][0] if heap else _NEVER, arrivals.enters
            if wake < first and wake < enters:
                self.now = max(self.now, wake)
                desk = self.desks[wakes.index(wake)]
                self._do(desk, desk.dispatcher.tick(self.now))
            elif first <= enters and heap:
                self.now, _, call, what = heapq.heappop(heap)
                call(what)
            elif enters < _NEVER:
                self.now = enters
                self._arrive()
            else:
                raise RuntimeError("queries are left, and nothing will ever happen")
            if self._told:
                self.go_on()
        if self._arrived <= tally.end:
            self._on_window()

    def _arrive(self) -> None:
        query, self._arrived = self._arrived, self._arrived + 1
        if query in (self._tally.first, self._tally.end):
            self._on_window()
        if query % _STEP == 0:
            self._progress(query)
        self._tally.entered(query, self.now)
        desk = self.desks[self._chosen()]
        if desk.number == 0 and self._tally.first <= query < self._tally.end:
            self._came[query] = self.now
        self._arrivals.pop()
        if self._serial:
            desk.free_at = max(desk.free_at, self.now) + self._serial
            self.at(desk.free_at, self._enter, (desk, query))
        else:
            self._enter((desk, query))

    def _enter(self, what: tuple[Desk, QueryId]) -> None:
        desk, query = what
        self._do(desk, desk.dispatcher.submit(query, "", None, True, self.now))

    def _do(self, desk: Desk, actions: Sequence[Action]) -> None:
        """The inner loop: by isinstance, as patterns take twice as long."""
        tally = self._tally
        for action in actions:
            if isinstance(action, Start):
                self._workers.start(desk, action)
            elif isinstance(action, Answer):
                tally.answer(action, self.now)
                if self._came and (came := self._came.pop(action.query, None)) is not None:
                    self.busiest.add(self.now - came)
            elif isinstance(action, Settled):
                tally.settle(action.query)
            elif isinstance(action, Cancel):
                self._workers.cancel(desk, action.job)
            elif isinstance(action, Reject):
                tally.reject(action)
                self._came.pop(action.query, None)
        wake = desk.dispatcher.next_tick
        self._wakes[desk.number] = _NEVER if wake is None else wake
