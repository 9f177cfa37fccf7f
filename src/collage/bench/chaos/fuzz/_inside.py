"""One target's inputs, given to it in a child process that may crash or hang."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import orjson

from collage.bench.chaos.fuzz._kept import keep, make_input
from collage.bench.chaos.fuzz._tally import FuzzChunk
from collage.bench.chaos.fuzz._targets import TARGETS

_CHILD = ("-m", "collage.bench.chaos.fuzz._child")
_START_SECONDS = 120.0
_DIED = 1000  # deaths of one chunk, after which it is given up


async def run_inside(name: str, seed: int, first: int, count: int, *, hang_seconds: float, folder: Path) -> FuzzChunk:
    """Give the target inputs first..first + count - 1. One that kills the process, or takes too long, is kept and
    passed over."""
    tally = FuzzChunk(target=name, seed=seed, first=first, inputs=count)
    at, end = first, first + count
    while at < end and tally.crashes + tally.hangs < _DIED:
        last, why = await _one_life(tally, at, end - at, hang_seconds=hang_seconds, folder=folder)
        if why is None:
            return tally
        keep(folder, f"{name}-{seed}-{last}", make_input(TARGETS[name], seed, last), why)
        at = last + 1
    return tally


async def _one_life(
    tally: FuzzChunk, first: int, count: int, *, hang_seconds: float, folder: Path
) -> tuple[int, str | None]:
    """Until the process ends. Returns the last input that it was given, and how it died; None: it did not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *_CHILD),
        *(tally.target, str(tally.seed), str(first), str(count), str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    last, line, waited = first, b"", _START_SECONDS
    try:
        while True:
            async with asyncio.timeout(waited):
                line = await process.stdout.readline()
            if not line or line.startswith(b"{"):
                break
            last, waited = int(line), hang_seconds
    except TimeoutError:
        tally.hangs += 1
        return last, f"no end within {waited:g} s"
    finally:
        if not line.startswith(b"{") and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # or it is dead
        status = await process.wait()
        text = (await errors).decode(errors="replace")
    if not line:
        tally.crashes += 1
        return last, f"the process died with status {status}: {text[-1500:]}"
    end = orjson.loads(line)
    tally.accepted += end["accepted"]
    tally.escaped += end["escaped"]
    tally.memory_before, tally.memory_after = end["memory"]
    return last, None
