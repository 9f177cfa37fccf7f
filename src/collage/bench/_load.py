"""Open-loop load: each request is sent at its time, however late the answers are."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine

import numpy as np
from numpy.typing import NDArray


class OpenLoop:
    """Sends request i at `began + arrivals[i]` and times each from then, never from when it was really sent.

    A thread keeps the times, because an event loop's timers are only good to a millisecond; requests themselves run on
    the loop. A late sender or a busy gateway so shows in the latency, as it would to a client.
    """

    def __init__(self, arrivals: NDArray[np.float64], send: Callable[[int], Coroutine[None, None, bool]]) -> None:
        self.latencies: NDArray[np.float64] = np.full(len(arrivals), np.nan)  # (n,) seconds; NaN: no answer
        self.lateness: NDArray[np.float64] = np.zeros(len(arrivals))  # (n,) seconds from intended to real sending
        self.arrivals = arrivals
        self._send = send
        self._began = 0.0
        self._stopped = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = len(arrivals)
        self._over = asyncio.Event()
        self._error: BaseException | None = None

    async def run(self, on_sent: Callable[[int], None] = lambda index: None) -> None:
        """Send everything and wait for every outcome. `on_sent` is told of each request as it is sent."""
        loop = asyncio.get_running_loop()

        def begin(index: int) -> None:
            if self._stopped.is_set():  # it was queued behind what ended the load
                return
            self.lateness[index] = time.monotonic() - self._began - self.arrivals[index]
            try:
                on_sent(index)
            except Exception as error:
                self._fault(error)
                return
            except BaseException:  # Ctrl-C leaves the loop from here, and the loop runs once more to close
                self._stopped.set()
                raise
            task = loop.create_task(self._one(index))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

        self._began = time.monotonic()
        clock = threading.Thread(target=self._keep_time, args=(loop, begin), name="collage load", daemon=True)
        clock.start()
        try:
            await self._over.wait()
        finally:
            self._stopped.set()
            for task in self._tasks:
                task.cancel()
            await loop.run_in_executor(None, clock.join)
        if self._error is not None:
            raise self._error

    def _keep_time(self, loop: asyncio.AbstractEventLoop, begin: Callable[[int], None]) -> None:
        for index, at in enumerate(self.arrivals.tolist()):
            if self._stopped.wait(max(0.0, self._began + at - time.monotonic())):
                return
            loop.call_soon_threadsafe(begin, index)

    async def _one(self, index: int) -> None:
        if await self._send(index):
            self.latencies[index] = time.monotonic() - self._began - self.arrivals[index]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._left -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault(error)
        if not self._left:
            self._over.set()

    def _fault(self, error: BaseException) -> None:
        """A fault of ours, not of the service: nothing more is worth measuring."""
        self._error = self._error or error
        self._over.set()
