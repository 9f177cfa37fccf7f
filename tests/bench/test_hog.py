"""A worker really shares its core with busy processes for a while, and gets all cores back whatever happens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collage.bench._hog import hogging_workers
from collage.exceptions import SettingsError

from ..waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are placed on cores on Linux only")


def on_core(core: int) -> list[int]:
    """Busy processes of ours that are kept to one core."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if os.sched_getaffinity(int(pid)) == {core}]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_shares_a_core_with_busy_processes_and_goes_back(fails: bool) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("needs two cores")
    apart = max(cores)
    worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    there: list[int] = []

    async def scenario() -> None:
        # Hogged after a hundredth of a second, for about an hour.
        found = {"w0": worker.pid, "w1": None}
        async with hogging_workers(lambda: found, np.random.default_rng(0), 0.01, 3600.0, 3):
            await until(lambda: os.sched_getaffinity(worker.pid) == {apart}, "the worker is kept to one core")
            assert os.sched_getaffinity(0) == cores - {apart}
            await until(lambda: len(on_core(apart)) == 4, "three busy processes share it")
            there.extend(pid for pid in on_core(apart) if pid != worker.pid)
            await until(lambda: all(state(pid) == "R" for pid in there), "they are busy")
            if fails:
                raise KeyError("what goes wrong in a turn")

    try:
        if fails:
            with pytest.raises(KeyError, match="turn"):
                asyncio.run(scenario())
        else:
            asyncio.run(scenario())
        assert os.sched_getaffinity(0) == os.sched_getaffinity(worker.pid) == cores
        assert not any(Path(f"/proc/{pid}").exists() for pid in there)
    finally:
        worker.kill()
        worker.wait()


def test_between_bursts_nothing_is_busy() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("needs two cores")

    async def scenario() -> None:
        async with hogging_workers(lambda: {"w0": os.getpid()}, np.random.default_rng(0), 3600.0, 1.0, 2):
            await until(lambda: len(on_core(max(cores))) == 2, "two processes are there")
            await until(lambda: all(state(pid) == "T" for pid in on_core(max(cores))), "they are stopped")
            assert os.sched_getaffinity(0) == cores

    asyncio.run(scenario())


def test_one_core_is_too_few() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with pytest.raises(SettingsError, match="hogged' needs two cores"):
            asyncio.run(hogging_workers(dict, np.random.default_rng(0), 1.0, 1.0, 1).__aenter__())
    finally:
        os.sched_setaffinity(0, cores)
