"""Measured time of one call over one call of another model: paired, one thread, medians."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collage.codes import make_code
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
    calls = [_call(model) if model.decoder is None else _coded_call(model, base), _call(base)]
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
    session, code = open_session(model.path, threads=1), make_code(model.card)
    full = [np.zeros(code.input_shape, np.float32)] * code.capacity
    feed = {session.get_inputs()[0].name: code.encode(full)}
    return lambda: session.run(None, feed)


def _coded_call(model: LoadedModel, single: LoadedModel) -> Callable[[], object]:
    """What a learned code takes for one group: its encoder, the single, and its decoder."""
    code, call = make_code(model.card, model.path.parent), _call(single)
    images = [np.zeros(code.input_shape, np.float32)] * code.capacity
    row = np.zeros(len(model.card.classes), np.float32)
    present = dict.fromkeys(range(1, code.capacity), row)
    return lambda: (code.encode(images), call(), code.decode(row, range(code.capacity), present))
