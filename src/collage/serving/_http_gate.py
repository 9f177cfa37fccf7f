"""The gate every inference request passes: who is inside, how many bytes they brought, and whether it is still open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from collage.exceptions import Unavailable


class Gate:
    """Counts requests and the bytes of their bodies. Event loop's thread only."""

    def __init__(self, max_bytes: int) -> None:
        self.closed = False
        self.inside = 0
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def enter(self) -> Iterator[Ticket]:
        """Around one request. Raises Unavailable once the gate is closed."""
        if self.closed:
            raise Unavailable("shutting down; send the request to another server", retry_after=1.0)
        ticket = Ticket(self)
        self.inside += 1
        self._empty.clear()
        try:
            yield ticket
        finally:
            self.held_bytes -= ticket.held_bytes
            self.inside -= 1
            if not self.inside:
                self._empty.set()

    def close(self) -> None:
        """Let nobody in any more."""
        self.closed = True

    async def empty(self) -> None:
        """Returns once nobody is inside."""
        await self._empty.wait()

    def _hold(self, size: int) -> None:
        if self.held_bytes + size > self._max_bytes:
            raise Unavailable("too many bytes are being received at once", retry_after=1.0)
        self.held_bytes += size


class Ticket:
    """One request inside the gate."""

    def __init__(self, gate: Gate) -> None:
        self.held_bytes = 0
        self._gate = gate

    def hold(self, size: int) -> None:
        """So many more bytes of the body are in memory. Raises Unavailable where all requests' are too many."""
        self._gate._hold(size)
        self.held_bytes += size
