"""The edge in virtual time: the relay's own machine, and a modelled link that transfers share equally."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from collage.bench.fleet._edge_models import Shows
from collage.bench.fleet._edge_outcome import Asked
from collage.bench.fleet._edge_plan import EdgePlan, Way
from collage.serving.edge import Action, Answer, EdgeMachine, SendCanvas, SendFull

# Of a call, beside its file: HTTP's and JSON's heads up, and, for each segment of 1,448 bytes, 66 of Ethernet, IP and
# TCP. The answer's acknowledgements are in the first.
_CALL_BYTES = 1000
_SEGMENT, _SEGMENT_HEAD = 1448, 66
_DOWN_BYTES = 1500  # an answer, and the acknowledgements of a file's segments
_NEVER = float("inf")


def on_link(size: float) -> float:
    """Bytes that a call with a file of this size is on the link."""
    whole = size + _CALL_BYTES
    return whole + _SEGMENT_HEAD * -(-whole // _SEGMENT)


@dataclass(eq=False, slots=True)
class _Transfer:
    left: float  # bytes
    action: SendFull | SendCanvas


@dataclass(frozen=True)
class EdgeRun:
    """What came of a run, measured or simulated. Bytes are the link's; calls by kind."""

    asked: Sequence[Asked]
    up: float
    down: float
    fulls: int
    canvases: int
    edge_cpu_seconds: float | None  # None: not known of a simulation
    sending_seconds: float


def simulate(plan: EdgePlan, way: Way, megabits: float, shows: Shows, arrivals: Sequence[float]) -> EdgeRun:
    """All arrivals, each with the photograph of its number, until each has its outcome."""
    return _Simulation(plan, way, megabits, shows, arrivals).run()


class _Simulation:
    def __init__(self, plan: EdgePlan, way: Way, megabits: float, shows: Shows, arrivals: Sequence[float]) -> None:
        self._plan, self._way, self._shows, self._arrivals = plan, way, shows, arrivals
        self._rate = megabits * 1e6 / 8
        self._machine = EdgeMachine(
            way.mode,
            capacity=shows.grid**2,
            window=way.window,
            patience=way.patience,
            threshold=shows.threshold,
            uploads=way.uploads,
        )
        self._moving: list[_Transfer] = []
        self._answers: list[tuple[float, int, SendFull | SendCanvas]] = []
        self._order = 0
        self._now = 0.0
        self._asked: dict[int, Asked] = {}
        self._up = self._down = self._sending = 0.0
        self._fulls = self._canvases = 0

    def run(self) -> EdgeRun:
        machine, arrivals, coming = self._machine, self._arrivals, 0
        while len(self._asked) < len(arrivals):
            tick = machine.next_tick
            ends = min((each.left for each in self._moving), default=_NEVER)
            moved = self._now + ends * len(self._moving) / self._rate if self._moving else _NEVER
            times = (
                arrivals[coming] if coming < len(arrivals) else _NEVER,
                self._answers[0][0] if self._answers else _NEVER,
                moved,
                _NEVER if tick is None else max(tick, self._now),
            )
            when = min(times)
            self._advance(when)
            if when == times[0]:
                self._do(machine.submit(coming, when + self._plan.deadline, True, when))
                coming += 1
            elif when == times[1]:
                self._answer(heapq.heappop(self._answers)[2])
            elif when == times[2]:
                self._arrive()
            else:
                self._do(machine.tick(when))
        asked = [self._asked[number] for number in range(len(arrivals))]
        return EdgeRun(asked, self._up, self._down, self._fulls, self._canvases, None, self._sending)

    def _advance(self, when: float) -> None:
        if self._moving:
            each = (when - self._now) * self._rate / len(self._moving)
            for transfer in self._moving:
                transfer.left -= each
            self._sending += when - self._now
        self._now = when

    def _arrive(self) -> None:
        """The first transfer is over: its server computes."""
        done = min(self._moving, key=lambda transfer: transfer.left)
        self._moving.remove(done)
        full = isinstance(done.action, SendFull)
        seconds = self._shows.single_seconds if full else self._shows.collage_seconds
        self._order += 1
        heapq.heappush(self._answers, (self._now + seconds, self._order, done.action))

    def _answer(self, action: SendFull | SendCanvas) -> None:
        if isinstance(action, SendFull):
            self._do(self._machine.full_ended(action.query, True, self._now))
        else:
            said = [self._shows.photos[query].tile for query in action.queries]
            self._do(self._machine.canvas_ended(action.canvas, said, self._now))

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, SendFull):
                photo = self._shows.photos[action.query]
                self._send(action, len(photo.file if self._way.full == "original" else photo.resized))
                self._fulls += 1
            elif isinstance(action, SendCanvas):
                share = 0.2 + 0.8 * len(action.queries) / self._shows.grid**2  # a JPEG's tables, and its tiles
                self._send(action, self._shows.canvas_bytes * share)
                self._canvases += 1
            else:
                photo = self._shows.photos[action.query]
                seconds = self._now - self._arrivals[action.query]
                if not isinstance(action, Answer):
                    self._asked[action.query] = Asked(seconds, None, right=False)
                elif action.by_tile:
                    self._asked[action.query] = Asked(seconds, "collage", right=photo.tile_right)
                else:
                    right = photo.right if self._way.full == "original" else photo.right_resized
                    self._asked[action.query] = Asked(seconds, "single", right=right)

    def _send(self, action: SendFull | SendCanvas, size: float) -> None:
        whole = on_link(size)
        self._up += whole
        self._down += _DOWN_BYTES + size / 30
        self._moving.append(_Transfer(whole, action))
