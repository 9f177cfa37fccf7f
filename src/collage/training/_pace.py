"""How fast a net learns at each step, and when a training is over: by a number of epochs, or within a time."""

from __future__ import annotations

import math
from typing import Any, Protocol

from collage.training._settings import LoopSettings

_COOLING = 0.4  # share of a training in which the rate falls to zero
_GAIN = 0.001  # of validation accuracy; less is noise


class Pace(Protocol):
    """What the loop asks, and is told; kept in its checkpoint."""

    def done(self) -> float:
        """How far the training has come, 0..1; at 1, no further step is to be taken."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a share of the setting, 0..1."""

    def spent(self, seconds: float) -> None:
        """So long did a step or an evaluation take."""

    def evaluated(self, accuracy: float) -> str:
        """The averaged weights' accuracy on validation images. Returns what a reader should know, or nothing."""

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""


def make_pace(loop: LoopSettings, steps: int) -> Pace:
    """By time where the settings give minutes, else by epochs of `steps` steps."""
    return ByEpochs(loop, steps) if loop.minutes is None else ByTime(loop, steps)


class ByEpochs:
    """Linear warm-up, then half a cosine to zero, over a fixed number of steps."""

    def __init__(self, loop: LoopSettings, steps: int) -> None:
        self._total, self._warmup, self._step = loop.epochs * steps, loop.warmup, 0

    def done(self) -> float:
        """See Pace."""
        return self._step / self._total

    def rate(self, step: int) -> float:
        """See Pace."""
        self._step, done = step, step / self._total
        if done < self._warmup:
            return done / self._warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - self._warmup) / (1 - self._warmup))))

    def spent(self, seconds: float) -> None:
        """See Pace."""

    def evaluated(self, accuracy: float) -> str:
        """See Pace."""
        return ""

    def state_dict(self) -> dict[str, Any]:
        """See Pace."""
        return {"_step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Pace."""
        vars(self).update(state)


class ByTime:
    """Linear warm-up, a constant rate, then linearly to zero, as time goes by.

    The rate begins to fall when the time left is its share of the whole, or as soon as validation has stopped gaining:
    then for its share of the time so far (Hägele et al., arXiv 2405.18392: such a schedule can end at any time, and
    does as well as a cosine). Only time spent learning counts, so that a training that was stopped goes on.
    """

    def __init__(self, loop: LoopSettings, steps: int) -> None:
        assert loop.minutes is not None
        self._loop, self._limit, self._total = loop, 60 * loop.minutes, loop.epochs * steps
        self._seconds, self._step = 0.0, 0
        self._best, self._stale = 0.0, 0
        self._cooling: float | None = None  # where the rate begins to fall, as a share of the limit
        self._end = 1.0

    def done(self) -> float:
        """See Pace."""
        return min(1.0, self._share() / self._end)

    def rate(self, step: int) -> float:
        """See Pace."""
        self._step = step
        share = self._share()
        if self._cooling is None and share >= 1 - _COOLING:
            self._cooling = 1 - _COOLING
        if self._cooling is not None:
            return max(0.0, (self._end - share) / (self._end - self._cooling))
        return min(1.0, (share + 1e-3) / (self._loop.warmup + 1e-3))

    def spent(self, seconds: float) -> None:
        """See Pace."""
        self._seconds += seconds

    def evaluated(self, accuracy: float) -> str:
        """See Pace."""
        if accuracy >= self._best + _GAIN:
            self._best, self._stale = accuracy, 0
        else:
            self._stale += 1
        share = self._share()
        if self._cooling is not None or self._loop.give_up is None or self._stale < self._loop.give_up:
            return ""
        self._cooling = share
        self._end = min(1.0, share / (1 - _COOLING))
        return f"no gain in {self._stale} evaluations: the learning rate now falls to its end"

    def state_dict(self) -> dict[str, Any]:
        """See Pace."""
        return {name: value for name, value in vars(self).items() if name not in ("_loop", "_limit", "_total")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Pace."""
        vars(self).update(state)

    def _share(self) -> float:
        """Of the way that is done: of the time, or of the steps where those come sooner."""
        return max(self._seconds / self._limit, self._step / self._total)
