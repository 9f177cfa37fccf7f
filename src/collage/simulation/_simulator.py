"""Virtual time: one dispatcher, an event heap, modelled workers. The dispatcher is the one that serves.

As in the driver that serves, events are handled one after the other: what an action brings about waits until all
actions before it are done.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from collage.dispatch import Action, Answer, Cancel, Decode, Dispatcher, JobId, Reject, Settled, Start
from collage.simulation._arrivals import OpenLoop, Rounds
from collage.simulation._fleet import Fleet
from collage.simulation._tally import Tally

_STEP = 1000  # arrivals between two words of progress


class Simulator:
    """The event loop. `begin` comes first; on_window is told when the counted queries begin and end to arrive.

    drain: rounds wait until no job runs any more.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        arrivals: OpenLoop | Rounds,
        tally: Tally,
        *,
        drain: bool = False,
        on_window: Callable[[], None] = lambda: None,
        progress: Callable[[int], None] = lambda arrived: None,
    ) -> None:
        self.dispatcher = dispatcher
        self.now = 0.0
        self._arrivals, self._tally, self._drain = arrivals, tally, drain
        self._rounds = arrivals if isinstance(arrivals, Rounds) else None
        self._on_window, self._progress = on_window, progress
        self._arrived = 0
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = count()
        self._told: deque[tuple[Callable[..., Sequence[Action]], tuple[Any, ...]]] = deque()
        self._joints: dict[JobId, Start] = {}  # that may yet have to be read
        self._kept: dict[int, list[JobId]] = {}  # of them, by query
        self._round_over = False

    def begin(self, fleet: Fleet) -> None:
        """With these workers."""
        self._fleet = fleet
        self._do(())

    # For the fleet.

    def at(self, when: float, call: Callable[[Any], None], what: Any) -> None:
        """Call `call(what)` at that time."""
        heapq.heappush(self._heap, (when, next(self._order), call, what))

    def tell(self, event: Callable[..., Sequence[Action]], *details: Any) -> None:
        """Tell the dispatcher, once what is being done is done."""
        self._told.append((event, details))

    def ended(self, start: Start) -> None:
        """A job's output is there."""
        self._told.append((self.dispatcher.completed, (start.job, self._tally.said(start))))

    # The loop.

    def run(self) -> None:
        """Until every counted query has its outcome."""
        heap, arrivals, tally = self._heap, self._arrivals, self._tally
        while tally.left:
            wake = self.dispatcher.next_tick
            first, enters = heap[0][0] if heap else float("inf"), arrivals.enters
            if wake is not None and wake < first and wake < enters:
                self.now = max(self.now, wake)
                self._do(self.dispatcher.tick(self.now))
            elif first <= enters and heap:
                self.now, _, call, what = heapq.heappop(heap)
                call(what)
                if self._told:
                    self._do(())
            elif enters < float("inf"):
                self.now = enters
                self._enter()
            else:
                raise RuntimeError("queries are left, and nothing will ever happen")
            if self._round_over and self._rounds is not None and (self._fleet.idle or not self._drain):
                self._round_over = False
                self._rounds.begin(self.now)
        if self._arrived <= tally.end:
            self._on_window()

    def _enter(self) -> None:
        query, self._arrived = self._arrived, self._arrived + 1
        if query in (self._tally.first, self._tally.end):
            self._on_window()
        if query % _STEP == 0:
            self._progress(query)
        image = self._tally.entered(query, self._arrivals.arrived)
        self._arrivals.pop()
        self._do(self.dispatcher.submit(query, "", None, True, self.now, digest=image))

    def _do(self, actions: Sequence[Action]) -> None:
        """These, then what was told meanwhile. The inner loop: by isinstance, as patterns take twice as long."""
        told, tally = self._told, self._tally
        while True:
            for action in actions:
                if isinstance(action, Start):
                    if action.source.joint:
                        self._keep(action)
                    self._fleet.start(action)
                elif isinstance(action, Answer):
                    tally.answer(action, self.now)
                    if self._rounds is not None:
                        self._settled_one(action.query)
                elif isinstance(action, Settled):
                    tally.settle(action.query)
                    if self._kept:
                        self._forget(action.query)
                else:
                    self._do_rarer(action)
            if not told:
                return
            event, details = told.popleft()
            actions = event(*details, self.now)

    def _do_rarer(self, action: Action) -> None:
        if isinstance(action, Cancel):
            self._fleet.cancel(action.job)
        elif isinstance(action, Decode):
            read = self._tally.read(self._joints[action.job], action.position)
            self.tell(self.dispatcher.decoded, action.job, action.position, read)
        elif isinstance(action, Reject):
            self._tally.reject(action)
            if self._rounds is not None:
                self._settled_one(action.query)

    def _settled_one(self, query: int) -> None:
        """For rounds: whether that was the last of its round."""
        rounds = self._rounds
        if rounds is not None and rounds.settled():
            if self._tally.first <= query < self._tally.end:
                self._tally.rounds.add(self.now - rounds.arrived)
            self._round_over = True

    def _keep(self, start: Start) -> None:
        self._joints[start.job] = start
        for query in start.queries:
            self._kept.setdefault(query, []).append(start.job)

    def _forget(self, query: int) -> None:
        """As the driver: one of its queries is settled, so the dispatcher has no more use for the job."""
        for job in self._kept.pop(query, ()):
            self._joints.pop(job, None)
