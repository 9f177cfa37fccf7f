"""The OpenAPI description: valid, complete, kept in docs/, and true of what the gateway answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collage.serving import DataPlane, load_settings
from collage.serving._http_app import create_app, make_gateway
from collage.serving._http_gate import Gate
from collage.serving._openapi import openapi

ROOT = Path(__file__).parents[2]
ANSWERED = [
    ("GET", "/v2", "/v2"),
    ("GET", "/v2/health/live", "/v2/health/live"),
    ("GET", "/v2/health/ready", "/v2/health/ready"),
    ("POST", "/v2/repository/index", "/v2/repository/index"),
    ("GET", "/v2/models/greys", "/v2/models/{model}"),
    ("GET", "/v2/models/greys/versions/3/ready", "/v2/models/{model}/versions/{version}/ready"),
    ("GET", "/v2/models/blues/ready", "/v2/models/{model}/ready"),
    ("POST", "/v2/models/blues/infer", "/v2/models/{model}/infer"),
    ("POST", "/v2/models/greys/infer", "/v2/models/{model}/infer"),
    ("POST", "/v1/classify?top=2", "/v1/classify"),
    ("POST", "/v1/classify?top=0", "/v1/classify"),
    ("POST", "/v1/classify?deadline_ms=0.0001", "/v1/classify"),
    ("POST", "/v1/backup/on", "/v1/backup/{state}"),
    ("POST", "/v1/backup/perhaps", "/v1/backup/{state}"),
    ("GET", "/v1/workers", "/v1/workers"),
    ("POST", "/v1/workers?count=0", "/v1/workers"),
    ("POST", "/v1/workers/w0/resume", "/v1/workers/{worker}/resume"),
    ("POST", "/v1/workers/w9/drain", "/v1/workers/{worker}/drain"),
    ("DELETE", "/v1/workers/w9", "/v1/workers/{worker}"),
    ("DELETE", "/v1/workers/w%0a9", "/v1/workers/{worker}"),
    ("POST", "/v1/workers/w%0a9/resume", "/v1/workers/{worker}/resume"),
    ("GET", "/v1/status", "/v1/status"),
    ("GET", "/v1/history?range=3h&since=1e9", "/v1/history"),
    ("GET", "/v1/history?range=week", "/v1/history"),
    ("GET", "/v1/stories", "/v1/stories"),
    ("GET", "/v1/status?model=blues", "/v1/status"),
    ("GET", "/v1/stories?model=greys", "/v1/stories"),
    ("GET", "/v1/collage.png?version=7", "/v1/collage.png"),
    ("GET", "/static/nothing", "/static/{name}"),
    ("GET", "/metrics", "/metrics"),
]


def test_it_is_valid() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    for demo in (False, True):
        validator.validate(openapi(load_settings(demo=demo)))


def test_it_has_every_route_and_no_other() -> None:
    settings = load_settings(demo=True)
    app = create_app(make_gateway(DataPlane(settings), settings, Gate(1)))
    routes = {
        (route.path.replace(":path", ""), method)  # an id may hold slashes
        for route in app.routes
        for method in (route.methods or ()) - {"HEAD"}  # type: ignore[attr-defined]
    }
    paths = openapi(settings)["paths"]
    assert {(path, method.upper()) for path, methods in paths.items() for method in methods} == routes
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_the_kept_one_is_that_of_the_code() -> None:
    assert json.loads((ROOT / "docs/openapi.json").read_text("utf-8")) == openapi(load_settings())


@pytest.mark.parametrize(("method", "path", "described"), ANSWERED)
def test_answers_are_as_described(gateway: Any, png: Any, method: str, path: str, described: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    body = png(3) if "classify" in path else b"{}" if method == "POST" else None
    _, description, _ = gateway.ask("GET", "/openapi.json")
    status, answer, headers = gateway.ask(method, path, body)
    responses = description["paths"][described][method.lower()]["responses"]
    response = responses[str(status)]
    if "$ref" in response:
        response = description["components"]["responses"][str(status)]
    kind = headers["content-type"].partition(";")[0]
    schema = response["content"][kind]["schema"] | {"components": description["components"]}
    if kind == "application/json":
        jsonschema.validate(answer, schema)
    assert ("retry-after" in headers) == ("Retry-After" in response.get("headers", {}))
