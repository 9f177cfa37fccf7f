"""Lines to a file descriptor, from a thread of their own: whoever hands one over never waits.

A pipe that nobody reads, a full disk, a closed terminal: lines are dropped and counted, and all else goes on.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable

_MOST_LINES = 4096  # that wait to be written
_MOST_BYTES = 64 * 1024  # in one write
_GATHER_SECONDS = 0.02  # a thread that woke for each line would take the event loop's turns


class LineWriter:
    """Writes whole lines, in order. `put` may be called from any thread."""

    def __init__(self, fd: int, most_lines: int = _MOST_LINES) -> None:
        self._fd = fd
        self._most = most_lines
        self._lines: deque[bytes] = deque()
        self._dropped = 0  # by `put`
        self._unwritten = 0  # by the thread
        self._torn = False  # the last write ended within a line
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collage-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were dropped: too many waited, or they could not be written."""
        return self._dropped + self._unwritten

    def put(self, line: bytes) -> None:
        """Hand a line over, which ends with a newline."""
        if len(self._lines) >= self._most:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def drop(self) -> None:
        """A line that could not even be made."""
        self._dropped += 1

    def close(self, seconds: float) -> None:
        """Write what waits, for at most so long."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait()
            closing = self._closing.wait(_GATHER_SECONDS)
            self._wake.clear()
            while self._lines:
                self._write(self._batch())

    def _batch(self) -> list[bytes]:
        batch, size = [], 0
        while self._lines and size < _MOST_BYTES:
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        return batch

    def _write(self, batch: list[bytes]) -> None:
        """All of them, or count those that are lost. Blocks for as long as the reader does."""
        left = memoryview(b"".join(batch))
        try:
            if self._torn:  # what was left of a line that could not be written is not ours to end any more
                os.write(self._fd, b"\n")
                self._torn = False
            while left:
                try:
                    left = left[os.write(self._fd, left) :]
                except BlockingIOError:  # somebody who shares the pipe wants it so
                    waiting = select.poll()
                    waiting.register(self._fd, select.POLLOUT)
                    waiting.poll()
        except OSError:
            for line in reversed(batch):
                if not left:
                    break
                self._unwritten += 1
                self._torn = self._torn or len(left) < len(line)
                left = left[: max(0, len(left) - len(line))]


class QueuedHandler(logging.Handler):
    """Log records to a writer, made into lines where they are logged."""

    def __init__(self, writer: LineWriter, line: Callable[[logging.LogRecord], bytes]) -> None:
        super().__init__()
        self.writer = writer
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises, never waits."""
        try:
            self.writer.put(self._line(record))
        except Exception:  # arguments that do not fit their message, say
            self.writer.drop()
