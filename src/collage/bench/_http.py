"""A small HTTP/1.1 client for load: kept connections, one request at a time on each, and nothing that goes unnoticed.

It does so little that on a small machine the load does not take the server's cores; and it counts bytes that nobody
asked for, which a client that hides its connections cannot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, cast

import httptools


class HttpAnswer(NamedTuple):
    """A whole response."""

    status: int
    body: bytes


class ConnectionCut(OSError):
    """The connection ended before the answer did. `begun`: some of the answer had come."""

    def __init__(self, begun: bool) -> None:
        super().__init__(
            "the connection ended within the answer" if begun else "the connection ended without an answer"
        )
        self.begun = begun


class HttpPool:
    """Connections to one server, opened as they are needed. Event loop's thread only.

    unsolicited: responses, or parts of some, that no request was waiting for: a second answer to one that was answered.
    """

    def __init__(self, host: str, port: int) -> None:
        self.unsolicited = 0
        self._host, self._port = host, port
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()

    async def open(self, count: int) -> None:
        """Have that many connections open. Raises OSError."""
        new = [await self._connect() for _ in range(count - len(self._open))]
        self._idle.extend(new)

    async def ask(self, request: bytes, *, seconds: float) -> HttpAnswer:
        """Send a whole request, and wait for its answer.

        Raises ConnectionCut where the connection ends, TimeoutError after so many seconds, OSError where there is no
        connecting, ValueError for what is no HTTP.
        """
        async with asyncio.timeout(seconds):
            connection = self._kept() or await self._connect()
            try:
                answer = await connection.ask(request)
            except BaseException:
                connection.abort()
                raise
        if connection.alive:
            self._idle.append(connection)
        return answer

    async def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        self._open.add(connection)
        return connection

    def lost(self, connection: _Connection) -> None:
        """A connection is no more."""
        self._open.discard(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, pool: HttpPool) -> None:
        self.alive = False
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[HttpAnswer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._begun = False

    async def ask(self, request: bytes) -> HttpAnswer:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._body, self._begun = [], False
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def abort(self) -> None:
        self.alive = False
        if self._transport is not None:
            self._transport.abort()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.alive = cast(asyncio.Transport, transport), True  # uvloop's own is not derived from it

    def data_received(self, data: bytes) -> None:
        self._begun = True
        if self._waiting is None or self._waiting.done():
            self._pool.unsolicited += 1
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ValueError(f"the answer is no HTTP ({error})"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._pool.lost(self)
        self._fail(ConnectionCut(self._begun))

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # The parser's side.

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._waiting is None or self._waiting.done():
            self._pool.unsolicited += 1
            return
        self.alive = self.alive and self._parser.should_keep_alive()
        self._waiting.set_result(HttpAnswer(self._parser.get_status_code(), b"".join(self._body)))


def post(path: str, body: bytes, host: str, **headers: str) -> bytes:
    """A whole POST request. Names of headers are written with `_` for `-`."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, host: str) -> bytes:
    """A whole GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
