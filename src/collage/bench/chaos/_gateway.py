"""A gateway process and its workers, seen from outside, as an operator's shell sees them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collage.bench._http import HttpPool, get
from collage.exceptions import ModelError

_START_SECONDS = 120.0
_PROCESS = Path(__file__).with_name("_gateway_process.py")  # as a file: as a module it would load all of `bench`


class GatewayProcess:
    """One gateway at one address, over its restarts. settings: of `collage serve`. seconds: of a single and a collage.

    What it logs goes to a file of that name in `folder`.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, object], seconds: tuple[float, float]) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.grpc = ""  # HOST:PORT, where it is served
        self._log = folder / f"{name}.log"
        self._settings = dict(settings)
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._control: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the gateway itself."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Returns once it serves. Raises ModelError, with the end of its log, where it does not."""
        here, there = socket.socketpair()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        settings = self._settings | {"host": self.host, "port": self.port}
        with there, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", str(_PROCESS), str(there.fileno())),
                    *(json.dumps(settings), *map(str, self._seconds)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[there.fileno()],
                env={name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_SERVE_")},
            )
        here.setblocking(False)
        self._control = await asyncio.open_connection(sock=here)
        async with asyncio.timeout(_START_SECONDS):
            line = await self._control[0].readline()
        if not line:
            await self.stop()
            raise ModelError(f"the gateway did not start: {self._log.read_text(errors='replace')[-500:]}")
        said = json.loads(line)
        self.port, self.grpc = int(said["url"].rpartition(":")[2]), said["grpc"]

    async def tell(self, do: str, **what: object) -> dict[str, Any]:
        """Have it do something to itself (`_gateway_process`). Raises ConnectionError where it is gone."""
        assert self._control is not None
        reader, writer = self._control
        writer.write(json.dumps({"do": do} | what).encode() + b"\n")
        line = await reader.readline()
        if not line:
            raise ConnectionError("the gateway is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def metrics(self) -> dict[str, float]:
        """Every sample at /metrics by its name and labels."""
        pool = HttpPool(self.host, self.port)
        answer = await pool.ask(get("/metrics", self.address), seconds=30)
        await pool.close()
        lines = (line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def total(self, name: str) -> float:
        """A metric's samples added up, whatever their labels."""
        found = await self.metrics()
        return sum(value for sample, value in found.items() if sample.partition("{")[0] == name)

    def workers(self) -> list[int]:
        """Its worker processes, in the order of their numbers."""
        return sorted(pid for pid in children(self.pid) if "collage.engines._worker" in _command(pid))

    def collage_workers(self) -> list[int]:
        """Those that run nothing but collages."""
        return [pid for pid in self.workers() if "identity.onnx" not in _command(pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        return await asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def stop(self) -> int | None:
        """End it: by SIGTERM, and where that is not enough, by SIGKILL. Idempotent; the exit status."""
        if self._process is None:
            return None
        for pid in self.workers():  # one that is stopped could not end
            send(pid, signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(30):
                status = await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            status = await self.wait()
        if self._control is not None:
            self._control[1].close()
            self._control = None
        self._process = None
        return status


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    with contextlib.suppress(OSError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return []


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def held(pid: int) -> dict[str, int]:
    """Memory (bytes) and open descriptors of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return {
        "memory": int(fields[1]) * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
