"""One line for each request, as it ends."""

from __future__ import annotations

import logging
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


def log_access(notes: RequestNotes, method: str, status: int | str, seconds: float, route: str = "") -> None:
    """status: HTTP's or gRPC's; route: HTTP's, with names in place of what clients choose; "": it is a gRPC call."""
    level = logging.DEBUG if (route or method) in _QUIET and status in _GOOD else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"request": notes.id, "transport": "http" if route else "grpc", "method": method}
    if route:
        fields["route"] = route
    fields["status"] = status
    fields["ms"] = round(seconds * 1e3, 3)
    if notes.tenant:
        fields["tenant"] = notes.tenant
    if notes.queries:
        fields["queries"] = notes.queries
    if notes.sources:
        fields["sources"] = dict(notes.sources)
    if notes.why:
        fields["why"] = notes.why
    _log.log(level, "%s %s", method, f"{route} {status}" if route else status, extra={"fields": fields})
