"""Real stragglers: worker processes that the kernel stops for a while (SIGSTOP) and lets go on (SIGCONT)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager

import numpy as np

from collage.bench._bursts import bursts
from collage.dispatch import WorkerId


def stopping_workers(
    workers: Callable[[], Mapping[WorkerId, int | None]], rng: np.random.Generator, running: float, stopped: float
) -> AbstractAsyncContextManager[None]:
    """While inside, each worker process is stopped now and then; all go on at the end.

    workers: process ids by name, as they are now. running, stopped: mean seconds of each.
    """

    @contextmanager
    def stop(name: WorkerId) -> Iterator[None]:
        process = workers().get(name)
        if process is None:  # it is being started again
            yield
            return
        _send(process, signal.SIGSTOP)
        try:
            yield
        finally:
            _send(process, signal.SIGCONT)

    return bursts(list(workers()), rng, running, stopped, stop)


def _send(process: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has died meanwhile
        os.kill(process, what)
