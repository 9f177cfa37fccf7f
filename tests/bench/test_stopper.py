"""Processes are really stopped, and go on whatever happens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import numpy as np
import pytest

from collage.bench._stopper import stopping_workers


@pytest.mark.parametrize("fails", [False, True])
def test_a_process_is_stopped_and_goes_on(fails: bool) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])

    async def changed(options: int) -> int:
        """Wait for the kernel's word of a change of the child."""
        _, status = await asyncio.to_thread(os.waitpid, child.pid, options)
        return status

    async def scenario() -> None:
        # Stopped after a hundredth of a second, for about an hour.
        async with stopping_workers(lambda: {"w0": child.pid, "w1": None}, np.random.default_rng(0), 0.01, 3600.0):
            assert os.WIFSTOPPED(await changed(os.WUNTRACED))
            if fails:
                raise KeyError("what goes wrong in a turn")

    try:
        if fails:
            with pytest.raises(KeyError, match="turn"):
                asyncio.run(scenario())
        else:
            asyncio.run(scenario())
        _, status = os.waitpid(child.pid, os.WCONTINUED)
        assert os.WIFCONTINUED(status)
    finally:
        child.kill()
        child.wait()


def test_a_process_that_has_died_is_no_trouble() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    async def scenario() -> None:
        asked = asyncio.Event()

        def workers() -> dict[str, int | None]:
            asked.set()
            return {"w0": child.pid}

        async with stopping_workers(workers, np.random.default_rng(0), 1e-4, 1e-4):
            asked.clear()
            await asked.wait()
            asked.clear()
            await asked.wait()  # the first stop has failed, and it goes on

    asyncio.run(scenario())
