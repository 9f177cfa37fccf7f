"""Processes that are measured: servers with all that they start, and loops of ONNX Runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from collage.bench._http import HttpPool
from collage.bench.gateway._servers import HOST, Launch
from collage.exceptions import ModelError

_START_SECONDS = 120.0
_STOP_SECONDS = 20.0
_BARE = Path(__file__).with_name("_bare_process.py")

Loop = Callable[[float, float], Awaitable[dict[str, Any]]]


@contextlib.asynccontextmanager
async def bare_loop(path: Path) -> AsyncIterator[Loop]:
    """ONNX Runtime in a loop of its own: a call with seconds and the share of them that it calculates."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(_BARE), str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**28
    )
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout

    async def answer() -> dict[str, Any]:
        line = await out.readline()
        if not line:
            raise ModelError(f"{path}: ONNX Runtime ended")
        found: dict[str, Any] = json.loads(line)
        return found

    async def run(seconds: float, share: float) -> dict[str, Any]:
        into.write(json.dumps({"seconds": seconds, "share": share}).encode() + b"\n")
        return await answer()

    try:
        await answer()
        yield run
    finally:
        into.close()
        await process.wait()


@contextlib.asynccontextmanager
async def running(started: Launch, port: int, where: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The server, ready, with a working folder of its own. It ends, with all that it has started, when this does."""
    where.mkdir(parents=True, exist_ok=True)
    for name, content in started.files.items():
        (where / name).write_text(content, "utf-8")
    log = where / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(started.command),
            env=started.environment,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        await _ready(started, port, process, log)
        yield process
    finally:
        all_of_it = tree(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        wait = asyncio.get_running_loop().run_in_executor
        with contextlib.suppress(subprocess.TimeoutExpired):
            await wait(None, process.wait, _STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await wait(None, process.wait)
        _end(all_of_it)


async def _ready(started: Launch, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        pool = HttpPool(HOST, port)
        with contextlib.suppress(OSError, ValueError):
            if (await pool.ask(started.ready, seconds=5.0)).status == 200:
                await pool.close()
                return
        await pool.close()
        await asyncio.sleep(0.1)
    raise ModelError(f"the server did not start: {log.read_text(errors='replace')[-600:]}")


def free_ports() -> int:
    """A port that is free, as are the two after it."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind((HOST, 0))
            port: int = first.getsockname()[1]
            try:
                for other in (port + 1, port + 2):
                    stack.enter_context(socket.socket()).bind((HOST, other))
            except (OSError, OverflowError):
                continue
        return port


class _Process(NamedTuple):
    parent: int
    began: int  # in the system's own count: with the id it names one process for good
    cpu: float  # seconds


def tree(root: int) -> dict[int, _Process]:
    """A process and all its descendants, by id; nothing where the system does not tell."""
    there: dict[int, _Process] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = entry.read_text().rpartition(")")[2].split()
            spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            there[int(entry.parent.name)] = _Process(int(fields[1]), int(fields[19]), spent)
    found = {root: there[root]} if root in there else {}
    while more := {pid: it for pid, it in there.items() if it.parent in found and pid not in found}:
        found |= more
    return found


def tree_cpu(root: int) -> float:
    """CPU seconds that a process and all its descendants have spent; 0 where the system does not tell."""
    return sum(process.cpu for process in tree(root).values())


def _end(left: dict[int, _Process]) -> None:
    """Those that outlive their parent, because they have a process group of their own."""
    for pid, process in left.items():
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[19]) == process.began:
                os.kill(pid, signal.SIGKILL)


def process_cpu(pid: int) -> float:
    """CPU seconds that a process has spent; 0 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
