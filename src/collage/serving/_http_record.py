"""What is kept of each HTTP request: its id, a count by route and status, and a line in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collage.serving._http_body import header
from collage.serving._metrics import Metrics
from collage.serving.logs import ID_HEADER, RequestNotes, current_request, request_over

if TYPE_CHECKING:
    from collage.serving.traces._traces import Traces

_ID_NAME = ID_HEADER.encode()
_NOBODY_TOLD = 499  # the server stops, or the client has gone


class Record:
    """Of one gateway. A path that is no route of ours is "other", lest clients choose labels.

    paths: a route's path by its endpoint.
    """

    def __init__(self, metrics: Metrics, paths: Mapping[Any, str], traces: Traces | None = None) -> None:
        self._metrics, self._paths, self._traces = metrics, paths, traces
        self._series: dict[tuple[str, int], Any] = {}  # to look up a series costs more than to count

    def begin(self, scope: Scope) -> RequestRecord:
        """A request has come, and is that of the current task."""
        notes = RequestNotes.of(header(scope, _ID_NAME))
        if self._traces is not None:
            notes.parent = self._traces.parent(Headers(scope=scope).get)
        current_request.set(notes)
        return RequestRecord(self, notes, scope)

    def route(self, scope: Scope) -> str:
        """The path of the request's route."""
        return self._paths.get(scope.get("endpoint"), "other")

    def count(self, route: str, status: int) -> None:
        """One more response."""
        series = self._series.get((route, status))
        if series is None:
            series = self._series[route, status] = self._metrics.responses.labels(route, str(status))
        series.inc()


class RequestRecord:
    """Of one request."""

    __slots__ = ("_notes", "_record", "_scope", "status")

    def __init__(self, record: Record, notes: RequestNotes, scope: Scope) -> None:
        self.status = 0
        self._record, self._notes, self._scope = record, notes, scope

    def answered(self, status: int) -> tuple[bytes, bytes]:
        """A response begins; returns the header with the request's id."""
        self.status = status
        self._record.count(self._record.route(self._scope), status)
        return _ID_NAME, self._notes.id.encode()

    def end(self) -> None:
        """It is over; to be called once."""
        request_over(self._notes, self._scope["method"], self.status or _NOBODY_TOLD, self._record.route(self._scope))


class Recorded:
    """Records all requests that go through it."""

    def __init__(self, app: ASGIApp, record: Record) -> None:
        self._app, self._record = app, record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":  # a web socket, which is refused: only other servers than ours know any
            await self._app(scope, receive, send)
            return
        request = self._record.begin(scope)

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = request.answered(message["status"])
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        try:
            await self._app(scope, receive, recording)
        except Exception:
            if not request.status:
                request.answered(500)  # which is answered further out
            raise
        finally:
            request.end()
