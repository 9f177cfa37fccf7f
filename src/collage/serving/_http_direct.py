"""The short way to the handlers that ask for classes.

Starlette goes through its routes one by one, and wraps each request in five layers that turn errors into responses.
Here the route of a path that was asked for before is known, and one layer does the same. Every other request takes
Starlette's way.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from collage.serving._http_errors import exception_handlers
from collage.serving._http_protocol import write_response
from collage.serving._http_record import Record

_MOST_PATHS = 256  # that are known; clients choose them, so the least used are forgotten


class _Found(NamedTuple):
    route: Route
    parameters: dict[str, Any]


class DirectApp(Starlette):
    """Starlette, with a short way for POST requests to the routes `direct`, which are put into `record`."""

    def __init__(self, *, direct: Iterable[Route], record: Record, **kwargs: Any) -> None:
        super().__init__(exception_handlers=exception_handlers(), **kwargs)
        self._direct = tuple(direct)
        self._record = record
        self._find = lru_cache(maxsize=_MOST_PATHS)(self._match)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        found = self._find(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None or scope.get("root_path"):
            await super().__call__(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = found.route.endpoint, dict(found.parameters)
        recorded = self._record.begin(scope)
        try:
            request = Request(scope, receive, send)
            bug: Exception | None = None
            try:
                response: Response = await found.route.endpoint(request)
            except Exception as error:
                kind = next(kind for kind in type(error).__mro__ if kind in self.exception_handlers)
                response = await self.exception_handlers[kind](request, error)
                bug = error if kind is Exception else None
            header = recorded.answered(response.status_code)
            if bug is None:  # else it has the id
                response.raw_headers.append(header)
            if not write_response(send, response):
                await response(scope, receive, send)
            if bug is not None:
                raise bug  # the server logs it
        finally:
            recorded.end()

    def _match(self, path: str) -> _Found | None:
        scope: Scope = {"type": "http", "method": "POST", "path": path, "root_path": ""}
        for route in self._direct:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return _Found(route, found["path_params"])
        return None
