"""When each worker is slow: now and then, for a while, at times drawn in advance: every policy meets the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

import numpy as np

from collage.dispatch import WorkerId

Slow = Callable[[WorkerId], AbstractContextManager[object]]


@asynccontextmanager
async def bursts(
    workers: Sequence[WorkerId], rng: np.random.Generator, normal: float, slow: float, make_slow: Slow
) -> AsyncIterator[None]:
    """While inside, each worker is inside of `make_slow(worker)` now and then; at the end, none is.

    normal, slow: mean seconds of each, of exponential length, drawn in advance and counted from the start.
    """
    began = asyncio.get_running_loop().time()
    names = sorted(workers)
    tasks = [
        asyncio.create_task(_one(name, own, (normal, slow), began, make_slow))
        for name, own in zip(names, rng.spawn(len(names)), strict=True)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(
    name: WorkerId, rng: np.random.Generator, means: tuple[float, float], began: float, make_slow: Slow
) -> None:
    loop, until = asyncio.get_running_loop(), began
    while True:
        until += rng.exponential(means[0])
        await asyncio.sleep(until - loop.time())
        until += rng.exponential(means[1])
        with make_slow(name):
            await asyncio.sleep(until - loop.time())
