"""Models of service times: what one call of the single takes on one worker. Seconds; seeded; no clock of their own.

A model makes one stream of times for each worker. A stream is asked when a job starts, with the time since the run
began, because a worker that straggles does so for a while, whatever it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from collage.exceptions import SettingsError
from collage.simulation._profile import SLOW_FACTOR, Profile, Times

_BUFFER = 512  # times drawn at once: a numpy call for every single time would be most of the cost


class WorkerTimes(Protocol):
    """The service times of one worker."""

    def draw(self, now: float) -> float:
        """Service time of a job that starts `now` seconds after the run began; `now` never goes back."""


class ServiceTimes(Protocol):
    """A model of service times."""

    @property
    def mean(self) -> float:
        """Mean service time of a worker that is never idle, seconds: what load is measured by."""

    @property
    def slow_above(self) -> float:
        """A job that takes longer straggles, seconds."""

    def worker(self, rng: np.random.Generator) -> WorkerTimes:
        """One worker's stream. The same generator state gives the same stream."""

    def steady(self, rng: np.random.Generator) -> WorkerTimes:
        """The same without stragglers: the normal mode alone, or the draws that are at most `slow_above`."""


@dataclass(frozen=True)
class ProfileTimes:
    """Independent draws from a profile, each slow with the profile's share."""

    profile: Profile
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_scale(self.scale)

    @property
    def mean(self) -> float:
        return self.profile.mean * self.scale

    @property
    def slow_above(self) -> float:
        return self.profile.slow_above * self.scale

    def worker(self, rng: np.random.Generator) -> WorkerTimes:
        return Independent(lambda count: self.profile.draw(rng, count) * self.scale)

    def steady(self, rng: np.random.Generator) -> WorkerTimes:
        return Independent(lambda count: self.profile.normal.at(rng.random(count)) * self.scale)


@dataclass(frozen=True)
class TraceTimes:
    """Draws from a measured trace (n,), seconds: independent, or each worker in the trace's order from a random place.

    The second keeps what persists in the trace: its slow runs.
    """

    times: Times
    in_order: bool = False
    scale: float = 1.0
    slow_from: float | None = None  # a longer time in the trace is slow, seconds; absent: `SLOW_FACTOR` medians

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        if self.times.ndim != 1 or not len(self.times) or not (self.times > 0).all():
            raise SettingsError("times: a trace needs one column of times above 0 seconds")
        if not (self.times * self.scale <= self.slow_above).any():
            raise SettingsError(f"slow_from: every time is above {self.slow_from} s, so none would be normal")

    @property
    def mean(self) -> float:
        return float(self.times.mean()) * self.scale

    @property
    def slow_above(self) -> float:
        limit = SLOW_FACTOR * float(np.median(self.times)) if self.slow_from is None else self.slow_from
        return limit * self.scale

    def worker(self, rng: np.random.Generator) -> WorkerTimes:
        return self._stream(rng, self.times * self.scale)

    def steady(self, rng: np.random.Generator) -> WorkerTimes:
        times = self.times * self.scale
        return self._stream(rng, times[times <= self.slow_above])

    def _stream(self, rng: np.random.Generator, times: Times) -> WorkerTimes:
        if self.in_order:
            return _Replay(times, int(rng.integers(len(times))))
        return Independent(lambda count: times[rng.integers(len(times), size=count)])


@dataclass(frozen=True)
class EpisodeTimes:
    """Two-state workers: normal for a while, then slow for a while, both of exponential length.

    Times come from the profile's normal or slow mode. Episodes go by the clock, not by jobs, so every policy meets the
    same ones. `normal_seconds` and `slow_seconds` are mean lengths before scaling: times and episodes shrink together.
    """

    profile: Profile
    normal_seconds: float
    slow_seconds: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        if self.profile.slow is None:
            raise SettingsError(f"profile {self.profile.name}: has no slow mode, so there are no episodes of it")
        if min(self.normal_seconds, self.slow_seconds) <= 0:
            raise SettingsError("normal_seconds and slow_seconds must be above 0")

    @property
    def mean(self) -> float:
        assert self.profile.slow is not None
        slow = self.slow_seconds / (self.normal_seconds + self.slow_seconds)
        # By time, not by jobs: a slow worker gets fewer jobs done in its share of the time.
        jobs_a_second = (1 - slow) / self.profile.normal.mean + slow / self.profile.slow.mean
        return self.scale / jobs_a_second

    @property
    def slow_above(self) -> float:
        return self.profile.slow_above * self.scale

    def worker(self, rng: np.random.Generator) -> WorkerTimes:
        return _Episodes(rng, self)

    def steady(self, rng: np.random.Generator) -> WorkerTimes:
        return Independent(lambda count: self.profile.normal.at(rng.random(count)) * self.scale)


def _check_scale(scale: float) -> None:
    if not scale > 0:
        raise SettingsError(f"scale: must be above 0 (got {scale:g})")


class Independent:
    """Serves single times out of many drawn at once: draw(count) -> (count,), seconds."""

    def __init__(self, draw: Callable[[int], Times]) -> None:
        self._draw = draw
        self._buffer: list[float] = []

    def draw(self, now: float) -> float:
        """The next one."""
        if not self._buffer:
            self._buffer = self._draw(_BUFFER).tolist()
        return self._buffer.pop()


class _Replay:
    def __init__(self, times: Times, start: int) -> None:
        self._times, self._next = times, start

    def draw(self, now: float) -> float:
        time = float(self._times[self._next])
        self._next = (self._next + 1) % len(self._times)
        return time


class _Episodes:
    def __init__(self, rng: np.random.Generator, model: EpisodeTimes) -> None:
        # Its own generator for the episodes: when they come must not depend on how many jobs the worker was given.
        draws, self._turns = rng.spawn(2)
        self._means = (model.normal_seconds * model.scale, model.slow_seconds * model.scale)
        self._slow = bool(self._turns.random() < self._means[1] / sum(self._means))
        self._until = self._turns.exponential(self._means[self._slow])
        self._draws, self._profile, self._scale = draws, model.profile, model.scale

    def draw(self, now: float) -> float:
        while now >= self._until:
            self._slow = not self._slow
            self._until += self._turns.exponential(self._means[self._slow])
        mode = self._profile.slow if self._slow else self._profile.normal
        assert mode is not None
        return float(mode.at(self._draws.random(1))[0]) * self._scale
