"""The gateway under fire, in a process of its own: `serve` as it is, with workers that hold each job for a while.

    python -P _gateway_process.py CONTROL_FD SETTINGS_JSON SINGLE_SECONDS COLLAGE_SECONDS

Over the control socket, a line of JSON each way, it says where it serves, does to itself what no other process can do
to it (a full disk under its logs, a wall clock that jumps), and tells what it holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from collage.dispatch import Role
from collage.serving import DataPlane, load_settings, logs_written, serve


class _Control:
    """Answers the lines of whoever started this process."""

    def __init__(self, plane: DataPlane, control: socket.socket) -> None:
        self._plane = plane
        self._socket = control
        self._outputs = [os.dup(1), os.dup(2)]
        self._clocks: tuple[Callable[[], float], Callable[[], int]] = (time.time, time.time_ns)
        self._task: asyncio.Task[None] | None = None
        self._grpc = ""

    def hear_grpc(self, address: str) -> None:
        """Called by `serve` before `begin`, where gRPC is served."""
        self._grpc = address

    def begin(self, url: str) -> None:
        """Called by `serve`, on its event loop, once queries are answered."""
        self._task = asyncio.get_running_loop().create_task(self._talk(url))

    async def _talk(self, url: str) -> None:
        self._socket.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=self._socket)
        writer.write(json.dumps({"url": url, "grpc": self._grpc}).encode() + b"\n")
        while line := await reader.readline():
            said = json.loads(line)
            answer = getattr(self, f"do_{said.pop('do')}")(**said)
            writer.write(json.dumps(answer).encode() + b"\n")

    def do_inside(self) -> dict[str, int]:
        """What it holds now."""
        view = self._plane.view()
        return {
            "tasks": len(asyncio.all_tasks()),
            "queries": view.in_flight,
            "groups": view.groups,
            "jobs": sum(worker.jobs for worker in view.workers),
        }

    def do_logs(self, full: bool) -> dict[str, int]:
        """Whatever is written to stdout and stderr meets a full disk, or goes where it went before."""
        disk = os.open("/dev/full", os.O_WRONLY) if full else -1
        for number, output in zip((1, 2), self._outputs, strict=True):
            os.dup2(disk if full else output, number)
        if full:
            os.close(disk)
        return {}

    def do_clock(self, jump: float) -> dict[str, Any]:
        """The wall clock that Python code sees jumps by so many seconds; 0: it is right again."""
        wall, wall_ns = self._clocks
        time.time = wall if not jump else lambda: wall() + jump
        time.time_ns = wall_ns if not jump else lambda: wall_ns() + int(jump * 1e9)
        return {"time": time.time()}


def main(control_fd: int, settings_json: str, single: float, collage: float) -> None:
    """Serve until SIGTERM."""
    settings = load_settings(**json.loads(settings_json))
    draws = random.Random(0)

    def hold(_worker: str, role: Role) -> float:
        return (single if role is Role.SINGLE else collage) * draws.uniform(0.8, 1.2)

    plane = DataPlane(settings, hold=hold)
    control = _Control(plane, socket.socket(fileno=control_fd))
    with logs_written(settings):
        serve(settings, control.begin, plane=plane, on_grpc=control.hear_grpc)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
