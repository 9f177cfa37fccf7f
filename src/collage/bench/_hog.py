"""Real stragglers: a worker that must share one core with busy processes for a while, as beside a noisy neighbour.

A worker that is hogged is moved to one core, where so many processes spin; everything else, the gateway and the load
too, has the other cores meanwhile. What is slowed is computing: padded waiting is not, so that a padded
time hides a hog as long as it is longer than the hogged model's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np

from collage.bench._bursts import bursts
from collage.dispatch import WorkerId
from collage.exceptions import SettingsError

_SPIN = "while True: pass"


@asynccontextmanager
async def hogging_workers(
    workers: Callable[[], Mapping[WorkerId, int | None]],
    rng: np.random.Generator,
    normal: float,
    hogged: float,
    hogs: int,
) -> AsyncIterator[None]:
    """While inside, each worker process shares a core with `hogs` busy ones now and then; at the end all is as before.

    workers: process ids by name, as they are now. normal, hogged: mean seconds of each. Workers that are hogged at the
    same time share the one core. Raises SettingsError where a machine has no two cores, or does not let processes be
    placed.
    """
    everywhere = _cores()
    apart = max(everywhere)
    others = everywhere - {apart}
    spinning = [subprocess.Popen([sys.executable, "-S", "-c", _SPIN], stdin=subprocess.DEVNULL) for _ in range(hogs)]
    moved: dict[WorkerId, int] = {}  # processes of the workers that are hogged

    def ours() -> list[int | None]:
        return [os.getpid(), *workers().values()]

    def signal_all(what: signal.Signals) -> None:
        for process in spinning:
            process.send_signal(what)

    @contextmanager
    def hog(name: WorkerId) -> Iterator[None]:
        process = workers().get(name)
        if process is None:  # it is being started again
            yield
            return
        if not moved:
            _place_all(ours(), others)
            signal_all(signal.SIGCONT)
        moved[name] = process
        _place(process, {apart})
        try:
            yield
        finally:
            del moved[name]
            _place(process, others)
            if not moved:
                signal_all(signal.SIGSTOP)
                _place_all(ours(), everywhere)

    try:
        signal_all(signal.SIGSTOP)
        _place_all([process.pid for process in spinning], {apart})
        async with bursts(list(workers()), rng, normal, hogged, hog):
            yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
        _place_all(ours(), everywhere)


def _cores() -> set[int]:
    if not hasattr(os, "sched_setaffinity"):
        raise SettingsError("stragglers: 'hogged' needs Linux, where a process can be kept to some cores")
    found = os.sched_getaffinity(0)
    if len(found) < 2:
        raise SettingsError("stragglers: 'hogged' needs two cores: one is set apart for the worker that is hogged")
    return found


def _place_all(processes: Iterable[int | None], where: set[int]) -> None:
    for process in processes:
        if process is not None:
            _place(process, where)


def _place(process: int, where: set[int]) -> None:
    """All threads of a process: the kernel places each by itself."""
    with contextlib.suppress(OSError):  # it has just died
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), where)
