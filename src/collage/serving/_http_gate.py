"""The gate every inference request passes: who is inside, how many bytes they brought, and whether it is still open."""

from __future__ import annotations

import asyncio
from typing import Self

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

    def enter(self) -> Ticket:
        """Around one request. Raises Unavailable once the gate is closed."""
        if self.closed:
            raise Unavailable("shutting down; send the request to another server", retry_after=1.0)
        return Ticket(self)

    def close(self) -> None:
        """Let nobody in any more."""
        self.closed = True

    async def empty(self) -> None:
        """Returns once nobody is inside."""
        await self._empty.wait()

    def _come(self) -> None:
        self.inside += 1
        self._empty.clear()

    def _go(self, held: int) -> None:
        self.held_bytes -= held
        self.inside -= 1
        if not self.inside:
            self._empty.set()

    def _hold(self, size: int) -> None:
        if self.held_bytes + size > self._max_bytes:
            raise Unavailable("too many bytes are being received at once", retry_after=1.0)
        self.held_bytes += size


class Ticket:
    """One request inside the gate."""

    __slots__ = ("_gate", "held_bytes")

    def __init__(self, gate: Gate) -> None:
        self.held_bytes = 0
        self._gate = gate

    def __enter__(self) -> Self:
        self._gate._come()
        return self

    def __exit__(self, *_: object) -> None:
        self._gate._go(self.held_bytes)

    def hold(self, size: int) -> None:
        """So many more bytes of the body are in memory. Raises Unavailable where all requests' are too many."""
        self._gate._hold(size)
        self.held_bytes += size
