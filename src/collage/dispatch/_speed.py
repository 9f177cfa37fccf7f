"""How slow a worker will be next, predicted from its last single: an autoregression that is learnt from all workers.

    slowness = a single's time / the usual one;   next slowness - 1 = f x (last slowness - 1)

f, 0..1, is fitted by least squares over recent pairs of singles in a row on one worker. Where slowness does not last, f
is near 0, and one slow job says nothing of the next; where it lasts, f is near 1. With every usual time that passes
without a single, the prediction falls by the same factor: so a slow worker is tried again, sooner or later. The idea of
giving work by predicted speed is S2C2's (Narra et al., arXiv 1904.07098).
"""

from __future__ import annotations

import math

from collage.dispatch._workers import Worker

SLOW = 2.0  # predicted slowness from which a worker is given less
_MOST = 20.0  # slowness beyond it is taken for this: one job of minutes must not decide all by itself
_FORGET = 0.999  # weight of older pairs, by pair: it looks back on about a thousand
_PRIOR = 4.0  # squares of pairs without persistence that are believed to have been seen before the first


class Speeds:
    """Predicts workers' slowness, and for how long they are to be called slow."""

    def __init__(self) -> None:
        self._squares = _PRIOR
        self._products = 0.0

    @property
    def factor(self) -> float:
        """f: how much of a worker's slowness is there at its next single, 0..1."""
        return min(0.99, max(0.0, self._products / self._squares))

    def observe(self, worker: Worker, seconds: float, usual: float, now: float) -> bool:
        """A single of so many seconds has ended on this worker. Returns whether it is to be called slow, or was."""
        before, excess = worker.excess, min(seconds / usual, _MOST) - 1.0
        worker.excess = excess
        if before is not None:
            self._squares = _FORGET * self._squares + before * before
            self._products = _FORGET * self._products + before * excess
        was = worker.slow_until > now
        worker.slow_until = now
        if excess > SLOW - 1.0:  # seldom
            factor = self.factor
            predicted = factor * excess
            if predicted > SLOW - 1.0:
                worker.slowness = 1.0 + predicted
                worker.slow_until = now + usual * math.log((SLOW - 1.0) / predicted) / math.log(factor)
        return was or worker.slow_until > now
