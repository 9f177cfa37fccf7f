"""uvicorn's HTTP/1.1 connection, with what it lacks against slow and endless clients.

uvicorn limits neither the time nor the bytes of a request's head, and reads on without end where a response went out
before the request's body had come in. Here a head has a time and a size, and an unfinished body a moment to end: long
enough for the client to read why it was refused, which closing at once would take from it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from collage.serving._settings import ServingSettings

_MAX_HEAD_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `guarded` sets the limits."""

    head_seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._close_after(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._reading_head and self._timer is None:
            self._head_bytes = 0
            self._close_after(self.head_seconds)
        super().data_received(data)
        if self._timer is not None and self._reading_head:  # still inside a head
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.transport.close()

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_timer()
        self._reading_head = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._reading_head and self.cycle.response_complete:  # the answer came before the body's end
            self._close_after(_LINGER_SECONDS)

    def _close_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def guarded(settings: ServingSettings) -> type[GuardedProtocol]:
    """The class of connections for uvicorn, which makes them itself and passes no settings of ours."""
    return type("Connection", (GuardedProtocol,), {"head_seconds": settings.head_seconds})
