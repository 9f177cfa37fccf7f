"""What the parts of one query cost the gateway, microseconds each, measured in a loop of their own."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from collage.codes import make_code
from collage.dispatch import Dispatcher, Outcome, Role, Start, WorkerState, get_policy
from collage.imaging import ImageLimits, decode_image, to_tensor
from collage.zoo import LoadedModel

_REPEATS = 7
_SLOTS = 2


class Costs(BaseModel):
    """Microseconds of one core for each query. A single's, unless a collage is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decode_png: float = Field(description="an image file of the single's size -> its tensor")
    encode_single: float = Field(description="a tensor -> a single's input")
    encode_collage: float = Field(description="a full collage's tensors -> its picture, by tile")
    dispatch_none: float = Field(description="all that the dispatcher does for a query, policy none")
    dispatch_collage: float = Field(description="the same, policy collage, no straggler")
    answer_single: float = Field(description="a single's output -> scores and confidence")
    answer_collage: float = Field(description="a full collage's output -> the same, by tile")


def measure_costs(single: LoadedModel, collage: LoadedModel, queries: int = 2000) -> Costs:
    """The median of some loops over so many queries."""
    preprocessing = single.card.preprocessing
    rng = np.random.default_rng(0)
    shape = (preprocessing.size, preprocessing.size, preprocessing.channels)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, shape, np.uint8).squeeze()).save(file, "PNG")
    picture, limits = file.getvalue(), ImageLimits()
    one, many = make_code(single.card), make_code(collage.card)
    tensor = to_tensor(decode_image(picture, limits), preprocessing)
    tile = to_tensor(decode_image(picture, limits), collage.card.preprocessing)
    tiles = [tile] * many.capacity
    rows = rng.standard_normal((1, len(single.card.classes)), np.float32)
    columns = len(collage.card.classes) + collage.card.unknown
    grid = rng.standard_normal((1, many.capacity, columns), np.float32)
    full = range(many.capacity)
    return Costs(
        decode_png=_each(lambda: to_tensor(decode_image(picture, limits), preprocessing), queries),
        encode_single=_each(lambda: one.encode([tensor]), queries),
        encode_collage=_each(lambda: many.encode(tiles), queries) / many.capacity,
        dispatch_none=_dispatch("none", 1, queries),
        dispatch_collage=_dispatch("collage", many.capacity, queries),
        answer_single=_each(lambda: one.decode(rows, range(1), {}), queries),
        answer_collage=_each(lambda: many.decode(grid, full, {}), queries) / many.capacity,
    )


def _each(work: Callable[[], object], times: int) -> float:
    """Microseconds of one call."""

    def loop() -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        return time.perf_counter() - began

    return statistics.median(loop() for _ in range(_REPEATS)) / times * 1e6


def _dispatch(policy: str, capacity: int, queries: int) -> float:
    """Microseconds by query: submitted, started, ended, answered; two workers, one query each time."""

    def loop() -> float:
        dispatcher = Dispatcher(get_policy(policy), capacity=capacity)
        roles = frozenset({Role.SINGLE, Role.COLLAGE})
        for number in range(_SLOTS):
            dispatcher.worker(f"w{number}", WorkerState.UP, roles, 1, 0.0)
        good, now = (Outcome(True, 0.9),), 0.0
        began = time.perf_counter()
        for query in range(queries):
            now += 0.001
            actions = dispatcher.submit(query, "", now + 10.0, True, now)
            for action in actions:
                if isinstance(action, Start):
                    dispatcher.completed(action.job, good * len(action.queries), now + 0.0005)
        return time.perf_counter() - began

    return statistics.median(loop() for _ in range(_REPEATS)) / queries * 1e6
