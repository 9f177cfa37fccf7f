"""The application without a socket: what becomes of errors that no client can cause at will."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collage.serving import DataPlane, ServingSettings
from collage.serving._http_app import create_app, make_gateway
from collage.serving._http_gate import Gate

Sent = list[dict[str, Any]]


async def _ask(app: Any, path: str, method: str = "POST", sent: Sent | None = None) -> Sent:
    """What the application sends in answer to a request without a body, until it ends or raises."""
    sent = [] if sent is None else sent

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    await app(scope, receive, send)
    return sent


def test_too_little_memory_is_no_fault_of_the_service(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServingSettings(single=str(models["single"]), backup=str(models["collage"]))
    app = create_app(make_gateway(DataPlane(settings), settings, Gate(settings.max_held_bytes)))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("collage.serving._http_oip.parse_infer", full)
    start, body = asyncio.run(_ask(app, "/v2/models/greys/infer"))
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert b"not enough memory" in body["body"]


def test_an_unexpected_error_is_counted_once(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServingSettings(single=str(models["single"]), backup=str(models["collage"]))
    app = create_app(make_gateway(DataPlane(settings), settings, Gate(settings.max_held_bytes)))

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("collage.serving._http_oip.parse_infer", broken)
    sent: Sent = []
    with pytest.raises(ZeroDivisionError):  # logged by the server
        asyncio.run(_ask(app, "/v2/models/greys/infer", sent=sent))
    assert [name for name, _ in sent[0]["headers"]].count(b"x-request-id") == 1
    _, body = asyncio.run(_ask(app, "/metrics", "GET"))
    line = b'collage_http_responses_total{route="/v2/models/{model}/infer",status="500"} 1.0'
    assert line in body["body"].splitlines()
