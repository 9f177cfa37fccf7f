"""Real stragglers: worker processes that the kernel stops for a while (SIGSTOP) and lets go on (SIGCONT)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import numpy as np

from collage.dispatch import WorkerId


@asynccontextmanager
async def stopping_workers(
    workers: Callable[[], Mapping[WorkerId, int | None]], rng: np.random.Generator, running: float, stopped: float
) -> AsyncIterator[None]:
    """While inside, each worker process is stopped now and then; all go on at the end.

    workers: process ids by name, as they are now. running, stopped: mean seconds of each, of exponential length, drawn
    in advance and counted from the start, so that every policy meets the same ones.
    """
    names = sorted(workers())
    began = asyncio.get_running_loop().time()
    tasks = [
        asyncio.create_task(_stop_one(name, workers, own, (running, stopped), began))
        for name, own in zip(names, rng.spawn(len(names)), strict=True)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_one(
    name: WorkerId,
    workers: Callable[[], Mapping[WorkerId, int | None]],
    rng: np.random.Generator,
    means: tuple[float, float],
    began: float,
) -> None:
    loop, until = asyncio.get_running_loop(), began
    while True:
        until += rng.exponential(means[0])
        await asyncio.sleep(until - loop.time())
        until += rng.exponential(means[1])
        process = workers().get(name)
        if process is None:  # it is being started again
            continue
        _send(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(until - loop.time())
        finally:
            _send(process, signal.SIGCONT)


def _send(process: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has died meanwhile
        os.kill(process, what)
