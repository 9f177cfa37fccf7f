"""Errors -> responses. One form for all: {"error": "what is wrong, by name"}."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from collage.exceptions import CollageError, Forbidden, InvalidInput, Unauthenticated, Unavailable
from collage.serving.logs import ID_HEADER, current_request

CHALLENGE = "collage.challenge"  # in a request's scope: how a client without a key is asked for one
_GONE = 499  # nobody reads it; the metrics show it


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Anything orjson can write, numpy arrays included."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


async def _on_collage_error(_request: Request, error: Exception) -> Response:
    status, headers = 500, {}
    if isinstance(error, (InvalidInput, Forbidden)):
        status = error.status
    elif isinstance(error, Unavailable):
        status = error.status
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return json_response({"error": str(error)}, status, headers)


async def _on_unauthenticated(request: Request, error: Exception) -> Response:
    asked = request.scope.get(CHALLENGE, "Bearer")
    return json_response({"error": str(error)}, 401, {"WWW-Authenticate": asked})


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail, headers = error.detail, dict(error.headers or {})
    if (error.status_code, detail) == (404, "Not Found"):  # the router's own
        detail = f"path: nothing is served at {request.url.path[:200]!r}"
    elif error.status_code == 405:
        detail = f"method: {request.method} is not taken here; {headers.get('Allow', 'another')} is"
    return json_response({"error": detail}, error.status_code, headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _on_no_memory(_request: Request, _error: Exception) -> Response:
    return json_response({"error": "not enough memory for this request now"}, 503, {"Retry-After": "1"})


async def _on_bug(_request: Request, _error: Exception) -> Response:
    # Starlette sends this from outside of all middleware, and raises the error again: logged.
    notes = current_request.get()
    headers = {} if notes is None else {ID_HEADER: notes.id}
    return json_response({"error": "internal error; the server's log has it"}, 500, headers)


def exception_handlers() -> dict[Any, Any]:
    """For Starlette."""
    return {
        CollageError: _on_collage_error,
        Unauthenticated: _on_unauthenticated,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        MemoryError: _on_no_memory,
        Exception: _on_bug,
    }
