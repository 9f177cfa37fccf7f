"""The remote server as a process: started, told to lie, killed and started again at the same address."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

from collage.bench._http import HttpPool, get, post
from collage.exceptions import ModelError

_START_SECONDS = 120.0
_PROCESS = Path(__file__).with_name("_remote_process.py")  # as a file: as a module it would load all of `bench`


class RemoteProcess:
    """One remote server at one port. What it logs goes to a file in `folder`."""

    def __init__(self, folder: Path, cards: list[Path], seconds: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._log = folder / f"remote-{self.port}.log"
        self._cards = cards
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns once it is ready. Raises ModelError where it never is."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", str(_PROCESS), str(self.port)),
                    *(str(self._seconds), *map(str, self._cards)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while self._process.poll() is None:
                    with contextlib.suppress(OSError):
                        await self._ask(get("/v2/health/ready", f"127.0.0.1:{self.port}"))
                        return
                    await asyncio.sleep(0.05)
        raise ModelError(f"a remote server did not start: {self._log.read_text(errors='replace')[-500:]}")

    async def lie(self, kind: str) -> None:
        """From now on; "none": be honest."""
        await self._ask(post(f"/lie/{kind}", b"", f"127.0.0.1:{self.port}"))

    async def stop(self) -> None:
        """Kill it. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
            self._process = None

    async def _ask(self, request: bytes) -> None:
        pool = HttpPool("127.0.0.1", self.port)
        try:
            await pool.ask(request, seconds=5)
        finally:
            await pool.close()
