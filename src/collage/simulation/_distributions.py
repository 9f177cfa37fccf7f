"""Service times from textbook distributions: independent draws. What is far above their median counts as straggling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collage.simulation._profile import SLOW_FACTOR, Times
from collage.simulation._service_times import Independent, WorkerTimes


@dataclass(frozen=True)
class DrawnTimes:
    """Independent draws: draw(rng, count) -> (count,), seconds. mean, median: of the distribution, seconds.

    A draw above three medians straggles: there is no other line between normal and slow in a smooth distribution.
    """

    draw: Callable[[np.random.Generator, int], Times]
    mean: float
    median: float

    @property
    def slow_above(self) -> float:
        """A job that takes longer straggles, seconds."""
        return SLOW_FACTOR * self.median

    def worker(self, rng: np.random.Generator) -> WorkerTimes:
        """One worker's stream."""
        return Independent(lambda count: self.draw(rng, count))

    def steady(self, rng: np.random.Generator) -> WorkerTimes:
        """The same; what straggles is drawn again."""

        def draw(count: int) -> Times:
            times = self.draw(rng, count)
            while len(slow := np.flatnonzero(times > self.slow_above)):
                times[slow] = self.draw(rng, len(slow))
            return times

        return Independent(draw)


def lognormal(median: float, sigma: float) -> DrawnTimes:
    """median: seconds, above 0; sigma: standard deviation of the logarithm, 0 or above."""
    mean = median * float(np.exp(sigma * sigma / 2))
    return DrawnTimes(lambda rng, count: median * np.exp(sigma * rng.standard_normal(count)), mean, median)


def pareto(least: float, alpha: float) -> DrawnTimes:
    """P(time > t) = (least / t)^alpha from `least` on, seconds; alpha above 1, so that there is a mean."""
    mean, median = least * alpha / (alpha - 1), least * 2.0 ** (1 / alpha)
    return DrawnTimes(lambda rng, count: least * (1.0 - rng.random(count)) ** (-1 / alpha), mean, median)


def shifted_exponential(shift: float, beyond: float) -> DrawnTimes:
    """A constant `shift` and an exponential of mean `beyond`, seconds; shift 0: exponential, beyond 0: constant."""
    median = shift + beyond * float(np.log(2))
    return DrawnTimes(lambda rng, count: shift + beyond * rng.standard_exponential(count), shift + beyond, median)
