"""One life of one worker process, seen from the gateway: start it, hand it jobs, hear it, end it, bury it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from collage.engines._wire import FloatArray, Frame, Kind, Parser, Window, WireError, pack

# Beside ONNX Runtime's own pool, which is set per session, nothing in a worker has use for threads.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class WorkerProcess(asyncio.Protocol):
    """A process and the gateway's end of its socket. Lives once: `launch`, then `on_frame` calls, then one `on_gone`.

    Nothing here blocks the event loop: processes are started and reaped on the loop's own thread pool, and a dead
    process is noticed by the end of its socket.
    """

    def __init__(
        self,
        models: Sequence[Path],
        threads: int,
        nice: int,
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._models = models
        self._threads = threads
        self._nice = nice
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._parser = Parser()
        self._window = Window()
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._spawning: asyncio.Future[None] | None = None
        self._why = "the process ended"

    @property
    def pid(self) -> int | None:
        """Of the process, from its start until it is reaped: after that, the number may be another's."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def launch(self) -> None:
        """Start the process. Raises OSError where the system cannot."""
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        try:
            self._spawning = loop.run_in_executor(None, self._spawn, there)
            await asyncio.shield(self._spawning)  # cancelled, the thread goes on: `bury` waits for what it makes
            here.setblocking(False)
            self._transport, _ = await loop.create_unix_connection(lambda: self, sock=here)
        except BaseException:
            here.close()
            raise

    def run(self, job: int, role: int, inputs: FloatArray, hold: float) -> None:
        """Hand over a job; the process must be idle. Raises ValueError for an input over the limit."""
        assert self._transport is not None
        self._window.write(inputs)
        self._transport.write(pack(Frame(Kind.RUN, job, role, hold, inputs.shape)))

    def end(self, why: str) -> None:
        """Kill the process; `on_gone` follows with this reason."""
        self._why = why
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        if self._transport is not None:
            self._transport.abort()

    async def bury(self) -> str:
        """Wait for the process to be gone for good, free what it held, and say how it ended."""
        if self._spawning is not None:
            await asyncio.wait([self._spawning])
        self.end(self._why)
        status = ""
        if self._process is not None:
            # After SIGKILL this is a matter of milliseconds, but it is a blocking call.
            code = await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
            status = f" (signal {-code})" if code < 0 else f" (exit status {code})"
        self._window.close()
        return self._why + status

    def data_received(self, data: bytes) -> None:
        """Bytes from the process; garbage ends it."""
        try:
            for frame in self._parser.feed(data):
                self._on_frame(frame)
        except WireError as error:
            self.end(f"it sent garbage: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone, or as good as gone."""
        self._on_gone(self._why)

    def _spawn(self, there: socket.socket) -> None:
        """Start the process with its end of the socket. Runs on a thread."""
        with there:
            fds = (there.fileno(), self._window.fd)
            arguments = (*fds, self._threads, self._nice, *self._models)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "collage.engines._worker", *map(str, arguments)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT,
            )
