"""How many workers there should be: counters in, a number out. It does no I/O, and reads no clock.

It looks at what singles need, never at backups: those use what stands idle, and must not bring about more of it. What
singles need is known in three ways, and the largest counts:

    busy      worker-seconds of singles a second: what is done; it never says more than the workers there can do
    offered   queries a second x a single's mean time: also what no worker was there for
    waiting   beside them: the queue, so many workers that it is worked off within one window

Divided by the target that is the number of workers wanted. More are wanted at once, beyond a tolerance for chance;
fewer only where no moment of a long window wanted more (as the stabilisation window of Kubernetes' autoscaler). The
window is at least some start-up times long: a worker that took a minute to load is not given up for a short dip.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

_TOLERANCE = 0.1  # of the workers there: less than chance makes of ten seconds' arrivals
_START_UPS = 5.0  # fewer workers only where they would not have been wanted for so many start-up times
_LEARN = 0.5  # weight of the last start-up


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a fleet follows its load. Raises ValueError for numbers that make no sense."""

    least: int  # workers, at least 1
    most: int  # workers
    target: float = 0.6  # share of a worker's time that singles may take, above 0 to 1
    window_seconds: float = 10.0  # over which load is measured
    down_seconds: float = 60.0  # for which fewer must have been enough

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"least ({self.least}) must be at least 1, and most ({self.most}) no smaller")
        if not 0 < self.target <= 1:
            raise ValueError(f"target: {self.target}; a share above 0, at most 1, is needed")
        if not 0 < self.window_seconds <= self.down_seconds:
            raise ValueError(f"window_seconds ({self.window_seconds:g}) must be above 0, and down_seconds no shorter")


class Load(NamedTuple):
    """What is looked at: counts since the start, and the queue. All as `DispatchStats` and `DispatchView` have them."""

    submitted: int
    singles_ended: int
    single_seconds: float
    waiting: int  # queries without a running single


class Autoscaler:
    """Look at the load every second or so. Times are seconds on one clock."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self.demand: float | None = None  # workers that singles would keep busy all the time, at the last look
        self.start_up = 0.0  # seconds, learnt
        self._loads: deque[tuple[float, Load]] = deque()
        self._needs: deque[tuple[float, float]] = deque()  # largest first: (when, workers needed)
        self._mean = 0.0  # seconds of a single
        self._since: float | None = None  # the first moment with a need

    def started(self, seconds: float) -> None:
        """A worker took so long from its start to its first job."""
        self.start_up = seconds if not self.start_up else self.start_up + _LEARN * (seconds - self.start_up)

    def look(self, load: Load, there: int, now: float) -> int:
        """How many workers are wanted. there: workers that are up or starting, without those that drain."""
        scaling = self.scaling
        self._measure(load, now)
        wanted = there
        if self.demand is not None:
            need = self.demand / scaling.target
            self._remember(need, now)
            if need > there * (1 + _TOLERANCE):
                wanted = _whole(need)
            elif self._since is not None and now - self._since >= self.hold_seconds:
                most = self._needs[0][1]
                if most < there * (1 - _TOLERANCE):
                    wanted = _whole(most)
        return min(max(wanted, scaling.least), scaling.most)

    @property
    def hold_seconds(self) -> float:
        """For how long fewer workers must have been enough."""
        return max(self.scaling.down_seconds, _START_UPS * self.start_up)

    def _measure(self, load: Load, now: float) -> None:
        window, loads = self.scaling.window_seconds, self._loads
        loads.append((now, load))
        while len(loads) > 1 and loads[1][0] <= now - window:
            loads.popleft()
        began, first = loads[0]
        seconds = now - began
        if seconds < window / 2:  # too little to say anything
            return
        done = load.single_seconds - first.single_seconds
        ended = load.singles_ended - first.singles_ended
        if ended:
            self._mean = done / ended
        offered = (load.submitted - first.submitted) * self._mean
        self.demand = max(done, offered) / seconds + load.waiting * self._mean / window

    def _remember(self, need: float, now: float) -> None:
        """Keep the largest need of the last `hold_seconds` at the front."""
        needs = self._needs
        if self._since is None:
            self._since = now
        while needs and needs[-1][1] <= need:
            needs.pop()
        needs.append((now, need))
        while needs[0][0] < now - self.hold_seconds:
            needs.popleft()


def _whole(need: float) -> int:
    """So many workers; what is above a whole number by rounding alone is not another one."""
    return math.ceil(need - 1e-6)
