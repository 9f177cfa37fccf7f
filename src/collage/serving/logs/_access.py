"""The end of each request: its line, and its trace's last span."""

from __future__ import annotations

import logging
import time
from typing import Any

from collage.serving.logs._notes import RequestNotes

_log = logging.getLogger("collage.access")

# What is asked for every few seconds and says nothing: only at level debug, unless it goes wrong.
_QUIET = frozenset(
    {
        "/metrics",
        "/static/{name}",
        "/v1/collage.png",
        "/v1/history",
        "/v1/status",
        "/v1/stories",
        "/v2/health/live",
        "/v2/health/ready",
        "ServerLive",
        "ServerReady",
    }
)
_GOOD = (200, 204, 304, "OK")


def request_over(notes: RequestNotes, method: str, status: int | str, route: str = "") -> None:
    """status: HTTP's or gRPC's; route: HTTP's, with names in place of what clients choose; "": it is a gRPC call."""
    if notes.trace is not None:
        _end_trace(notes, method, status, route)
    level = logging.DEBUG if (route or method) in _QUIET and status in _GOOD else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"request": notes.id, "transport": "http" if route else "grpc", "method": method}
    if route:
        fields["route"] = route
    fields["status"] = status
    fields["ms"] = round((time.monotonic() - notes.began) * 1e3, 3)
    if notes.tenant:
        fields["tenant"] = notes.tenant
    if notes.queries:
        fields["queries"] = notes.queries
    if notes.sources:
        fields["sources"] = notes.sources
    if notes.why:
        fields["why"] = notes.why
    if notes.trace is not None:
        fields["trace"] = notes.trace.id
    _log.log(level, "%s %s", method, f"{route} {status}" if route else status, extra={"fields": fields})


def _end_trace(notes: RequestNotes, method: str, status: int | str, route: str) -> None:
    """Attributes by OpenTelemetry's own names, where it has some."""
    assert notes.trace is not None
    attributes: dict[str, str | int] = {"collage.request": notes.id, "collage.queries": notes.queries}
    if notes.tenant:
        attributes["collage.tenant"] = notes.tenant
    if route:
        attributes |= {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    else:
        attributes |= {"rpc.system": "grpc", "rpc.method": method, "rpc.response.status_code": status}
    failed = status >= 500 if isinstance(status, int) else status != "OK"
    notes.trace.end(f"{method} {route}" if route else method, attributes, failed=failed)
