"""When queries come: streams of times, some thousand drawn at once, and rounds, which wait for their answers.

All open-loop streams are infinite: arrivals go on, uncounted, until every counted query has its outcome.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collage.simulation._profile import Times

_CHUNK = 4096


def poisson(rng: np.random.Generator, rate: float) -> Iterator[float]:
    """Independent exponential gaps; rate: queries a second."""
    now = 0.0
    while True:
        times = now + np.cumsum(rng.exponential(1.0 / rate, _CHUNK))
        now = float(times[-1])
        yield from times.tolist()


def bursty(rng: np.random.Generator, rate: float, factor: float, calm: float, burst: float) -> Iterator[float]:
    """A Markov-modulated Poisson process of two states, calm first.

    rate: queries a second on average; factor: of the rate in a burst over the rate in the calm; calm, burst: mean
    lengths of the two, seconds, exponential.
    """
    calm_rate = rate * (calm + burst) / (calm + factor * burst)
    now, state = 0.0, 0
    rates, lengths = (calm_rate, calm_rate * factor), (calm, burst)
    while True:
        end = now + rng.exponential(lengths[state])
        while now < end:  # in steps, so that a long phase needs no more memory than a short one
            step = min(end - now, _CHUNK / rates[state])
            count = rng.poisson(rates[state] * step)
            yield from (now + np.sort(rng.random(count)) * step).tolist()
            now += step
        now, state = end, 1 - state


def repeated(times: Times, scale: float) -> Iterator[float]:
    """Timestamps (n,), rising, from 0 on, multiplied by `scale`; then again, one mean gap after the last."""
    span = float(times[-1]) * len(times) / max(1, len(times) - 1)
    start = 0.0
    while True:
        for first in range(0, len(times), _CHUNK):
            yield from ((start + times[first : first + _CHUNK]) * scale).tolist()
        start += span


class OpenLoop:
    """Arrivals that nothing holds back. delay: serial seconds that the gateway spends on each query before it is in."""

    def __init__(self, times: Iterator[float], gateway: float = 0.0) -> None:
        self._times, self._gateway = times, gateway
        self.arrived = 0.0  # of the next query: when it came
        self.enters = 0.0  # of the next query: when the dispatcher is told
        self.pop()

    def pop(self) -> None:
        """On to the next one."""
        self.arrived = next(self._times)
        self.enters = max(self.arrived, self.enters) + self._gateway if self._gateway else self.arrived


class Rounds:
    """The closed loop: `size` queries at once, and the next ones when all of them have their outcome."""

    def __init__(self, size: int, gateway: float = 0.0) -> None:
        self._size, self._gateway = size, gateway
        self._left = size  # to come in, of the round
        self._open = size  # of the round, without an outcome
        self.arrived = 0.0
        self.enters = gateway

    def pop(self) -> None:
        """On to the next one; none comes before the round is over."""
        self._left -= 1
        self.enters = self.enters + self._gateway if self._left else np.inf

    def settled(self) -> bool:
        """One more outcome: whether the round is over."""
        self._open -= 1
        return not self._open

    def begin(self, now: float) -> None:
        """The next round starts."""
        self._left = self._open = self._size
        self.arrived, self.enters = now, now + self._gateway
