"""uvicorn's HTTP/1.1 connection, with what it lacks against slow and endless clients.

uvicorn limits neither the time nor the bytes of a request's head, reads on without end where a response went out
before the request's body had come in, and waits without end for a client that does not read. Here a head has a time and
a size, an unfinished body a moment to end (long enough for the client to read why it was refused, which closing at once
would take from it), and an answer a time in which the client must take some of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collage.serving._departure import DEPARTURE, Departure
from collage.serving._http_body import WHOLE
from collage.serving._settings import ServingSettings
from collage.serving.safety import CERTIFICATE, certificate_names

_MAX_HEAD_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `guarded` sets the limits."""

    head_seconds: float
    write_seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._certificate: tuple[str, ...] = ()  # the names in the client's, verified
        self._reading_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None  # while answers wait for the client to read
        self._answering: RequestResponseCycle | None = None  # others wait behind it
        self._message_ended = False  # the last bytes that came ended a request, and began no other

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._certificate = certificate_names(transport.get_extra_info("peercert"))
        self._close_after(self.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._message_ended = False
        self.scope[DEPARTURE] = Departure()  # type: ignore[literal-required] # ours
        if self._certificate:
            self.scope[CERTIFICATE] = self._certificate  # type: ignore[literal-required] # ours

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread()
        if self._answering is not None and not self._answering.response_complete:  # uvicorn tells the newest only
            self._answering.disconnected = True
            self._answering.message_event.set()
            self._answering.scope[DEPARTURE].tell()  # type: ignore[literal-required] # ours
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_unread()

    def resume_writing(self) -> None:
        self._stop_unread()
        super().resume_writing()
        if self.transport.is_closing():  # closing waits for the rest to be read
            self._abort_unread()

    def data_received(self, data: bytes) -> None:
        self._message_ended = False
        super().data_received(data)
        if self._reading_head and not self._message_ended:  # still inside a head, or before it
            if self._timer is None:
                self._head_bytes = 0
                self._close_after(self.head_seconds)
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._close()

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.scope[WHOLE] = True  # type: ignore[literal-required] # ours
        super().on_message_complete()
        self._stop_timer()
        self._reading_head = self._message_ended = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._reading_head and self.cycle.response_complete:  # the answer came before the body's end
            self._close_after(_LINGER_SECONDS)
        if self.transport.is_closing():
            self._abort_unread()

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self._close()

    def _close_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self.transport.close()
        self._abort_unread()

    def _abort_unread(self) -> None:
        """Unless the client reads, or the connection ends, in time. A close alone waits for it as long as it likes."""
        if self._unread is None:
            self._unread = self.loop.call_later(self.write_seconds, self.transport.abort)

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def write_response(send: Send, response: Response) -> bool:
    """Write a whole response at once, where `send` is that of a connection here that has no reason to wait.

    Returns whether it was done. It does what uvicorn's `send` does with a response's two messages, without looking at
    each header again: those that come here are our own.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.response_started or cycle.flow.write_paused:
        return False
    if cycle.disconnected:
        return True
    body = bytes(response.body)
    lines = [STATUS_LINE[response.status_code]]
    for name, value in (*cycle.default_headers, *response.raw_headers):
        lines += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    lines += (b"\r\n", body)
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.chunked_encoding, cycle.expected_content_length = False, 0
    cycle.transport.write(b"".join(lines))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def guarded(settings: ServingSettings) -> type[GuardedProtocol]:
    """The class of connections for uvicorn, which makes them itself and passes no settings of ours."""
    limits = {"head_seconds": settings.head_seconds, "write_seconds": settings.write_seconds}
    return type("Connection", (GuardedProtocol,), limits)
