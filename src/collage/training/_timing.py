"""Measured time of one call over one call of another model: paired, one thread, medians."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collage.zoo import LoadedModel, open_session


class LatencyRatio(NamedTuple):
    """Median of pairwise ratios, with its quartiles; and the two median times in seconds."""

    ratio: float
    low: float
    high: float
    seconds: float
    base_seconds: float


def latency_ratio(model: LoadedModel, base: LoadedModel, *, pairs: int = 500) -> LatencyRatio:
    """One call of `model` over one of `base`, batch 1, one thread, taken in turn so that drift hits both alike."""
    calls = [_call(m) for m in (model, base)]
    times = np.empty((pairs, 2))
    for pair in range(-20, pairs):  # the first pairs warm up
        for column, call in enumerate(calls):
            began = time.perf_counter()
            call()
            times[max(pair, 0), column] = time.perf_counter() - began
    ratios = times[:, 0] / times[:, 1]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return LatencyRatio(float(middle), float(low), float(high), *(float(x) for x in np.median(times, axis=0)))


def _call(model: LoadedModel) -> Callable[[], object]:
    session = open_session(model.path, threads=1)
    card = model.card
    side = card.preprocessing.size * (card.grid or 1)
    feed = {session.get_inputs()[0].name: np.zeros((1, card.preprocessing.channels, side, side), np.float32)}
    return lambda: session.run(None, feed)
