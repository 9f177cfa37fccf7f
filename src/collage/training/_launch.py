"""`--processes N`: the same command as N processes of one team on this machine, and one that watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from collage.exceptions import ProcessLost
from collage.training._team import LOST, SUPERVISED

_LOOK = 0.1  # seconds
_GRACE = 15.0  # seconds in which the others may end by themselves, once one has failed


def run_processes(count: int, arguments: Sequence[str], threads: int) -> int:
    """Run `collage ARGUMENTS` as `count` processes with `threads` each; the exit status.

    Ctrl-C and SIGTERM are passed on: all end at the same step, with a checkpoint; a second one kills. Raises
    ProcessLost where one of them was killed, which ends the others.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # any free port
    children = [_start(rank, count, store.port, arguments, threads) for rank in range(count)]
    heard: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        _signal(children, signal.SIGTERM if len(heard) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
            time.sleep(_LOOK)
        ends = (
            time.monotonic() + _GRACE
        )  # the others notice that one is gone; stopped ones take the time that they need
        while any(child.poll() is None for child in children) and (heard or time.monotonic() < ends):
            time.sleep(_LOOK)
        codes = [child.poll() for child in children]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _signal(children, signal.SIGKILL)
        for child in children:
            child.wait()
    return 128 + heard[0] if heard else _judge(codes)


def _start(rank: int, count: int, port: int, arguments: Sequence[str], threads: int) -> subprocess.Popen[bytes]:
    environment = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,  # the store is here already
        "OMP_NUM_THREADS": threads,
        SUPERVISED: 1,
    }
    if sys.platform in ("linux", "darwin"):  # nothing leaves this machine, whatever its name resolves to
        environment["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
    return subprocess.Popen(
        [sys.executable, "-m", "collage.cli", *arguments],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdin=subprocess.PIPE,  # its end says that this process is gone
        start_new_session=True,  # a Ctrl-C reaches them once, from here
    )


def _signal(children: list[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def _judge(codes: list[int | None]) -> int:
    """The exit status. A process that fails by itself has said why; of one that was killed, it must be said here."""
    killed = [(rank, code) for rank, code in enumerate(codes) if code is not None and code < 0]
    if killed:
        rank, code = killed[0]
        raise ProcessLost(
            f"process {rank} of {len(codes)} was killed ({signal.Signals(-code).name}), and the others have ended; the"
            " same command goes on from the last checkpoint"
        )
    failed = [code for code in codes if code not in (0, LOST, None)]
    return next(iter(failed), None) or max(code or 0 for code in codes)
