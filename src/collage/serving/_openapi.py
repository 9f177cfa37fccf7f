"""The gateway's HTTP interface as an OpenAPI 3.1 description: /openapi.json, and docs/openapi.json.

A test holds it against the application's routes, and others against what they answer.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage import __version__
from collage.serving._http_errors import json_response
from collage.serving._openapi_repository import repository_paths
from collage.serving._openapi_schemas import ref, schemas
from collage.serving._openapi_workers import worker_paths
from collage.serving._settings import ServingSettings
from collage.serving.safety import Need, charged, need_of

Described = dict[str, Any]

_ERRORS = {
    400: "What was sent cannot be used; the message names the field.",
    401: "A key or a client certificate is needed, or this one is not known.",
    403: "Another key is needed; or this is only for the gateway's own page, or from its own machine.",
    404: "No such path, model or version.",
    405: "The path does not take this method; `Allow` says which it does.",
    408: "The body came too slowly.",
    413: "Over a limit on bytes, pixels or images.",
    415: "A form, or a compressed body, instead of the body itself.",
    429: "This tenant asks for too much; `Retry-After` says when to come back.",
    500: "A fault of the gateway's own, which its log has.",
    503: "The gateway cannot answer now; `Retry-After` says when to come back.",
    504: "No answer within the deadline; `Retry-After` says when to come back.",
}
_INFERENCE = (400, 404, 408, 413, 415, 503, 504)
_BINARY = "application/octet-stream"
_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "description": "its name"}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "of the model; without it, whichever is current",
}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 1},
    "description": "bytes of the JSON, where tensors' bytes follow it",
}


def openapi_routes(settings: ServingSettings) -> list[Route]:
    """GET /openapi.json."""
    content = openapi(settings)

    async def show(_request: Request) -> Response:
        return json_response(content)

    return [Route("/openapi.json", show)]


def openapi(settings: ServingSettings) -> Described:
    """The description, with the limits of these settings."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Collage gateway",
            "version": __version__,
            "description": "Image classification whose slowest answers are nearly as fast as its usual ones. Every"
            ' refusal has one form, `{"error": "what is wrong, by name"}`.\n\nLimits of one request:'
            f" {settings.max_body_bytes:,} bytes of body, {settings.max_json_bytes:,} of JSON, {settings.max_images}"
            f" images of {settings.max_image_bytes:,} bytes and {settings.max_image_pixels:,} pixels each, a deadline"
            f" of at most {settings.max_deadline:g} s.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _guarded(
            {**_plain(settings), **_protocol(), **repository_paths(), **_operating(settings), **worker_paths()}
        ),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "a key, where the gateway wants one"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": schemas(settings),
            "responses": {str(status): _error(text) for status, text in _ERRORS.items()},
        },
    }


def _guarded(paths: Described) -> Described:
    """With what the guard may answer, and how keys are sent."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            if need_of(path, {method.upper()}) is Need.ANYONE:
                continue
            if "{" in path:
                operation["responses"].setdefault("404", {"$ref": "#/components/responses/404"})
            operation["security"] = [{}, {"bearer": []}, {"header": []}]  # none of them where no key is set
            for status in (401, 403, 429) if charged(path) else (401, 403):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return paths


def _error(text: str) -> Described:
    described: Described = {"description": text, "content": {"application/json": {"schema": ref("Error")}}}
    if "`Retry-After`" in text:
        described["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
    return described


def _operation(
    name: str, summary: str, answer: Described, *errors: int, parameters: tuple[Described, ...] = (), **more: object
) -> Described:
    responses = {"200": answer} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}
    given = {"parameters": list(parameters)} if parameters else {}
    return {"operationId": name, "summary": summary, **given, **more, "responses": responses}


def _json(schema: str, description: str = "") -> Described:
    return {"description": description or schema, "content": {"application/json": {"schema": ref(schema)}}}


def _bytes(kind: str, description: str) -> Described:
    return {"description": description, "content": {kind: {"schema": {}}}}


def _query(name: str, description: str, **schema: object) -> Described:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _plain(settings: ServingSettings) -> Described:
    asked = (
        _query("top", "how many classes to name", type="integer", minimum=1, maximum=999_999_999, default=3),
        _query("accept_degraded", "whether a backup's answer will do", type="boolean", default=True),
        _query(
            "deadline_ms",
            "milliseconds an answer may take",
            type="number",
            exclusiveMinimum=0,
            maximum=settings.max_deadline * 1e3,
        ),
        _query("model", "which of several models; by default the first", type="string"),
        _query("version", "of the model; by default the current one", type="string"),
    )
    image = {"required": True, "content": {kind: {"schema": {}} for kind in (_BINARY, "image/jpeg", "image/png")}}
    return {
        "/v1/classify": {
            "post": _operation(
                "classify",
                "Classify one image: the body is a JPEG, PNG or WebP file",
                _json("Answer"),
                *_INFERENCE,
                parameters=asked,
                requestBody=image,
            )
        }
    }


def _protocol() -> Described:
    paths: Described = {
        "/v2": {"get": _operation("server", "Server metadata", _json("Server"))},
        "/v2/health/live": {"get": _operation("live", "Whether the process answers", _json("Live"))},
        "/v2/health/ready": {"get": _ready("ready", "Whether queries are answered")},
    }
    for path, parameters, suffix in (
        ("/v2/models/{model}", (_MODEL,), ""),
        ("/v2/models/{model}/versions/{version}", (_MODEL, _VERSION), "_version"),
    ):
        paths[path] = {
            "get": _operation(f"model{suffix}", "Model metadata", _json("Model"), 404, parameters=parameters)
        }
        paths[f"{path}/ready"] = {
            "get": _ready(f"model_ready{suffix}", "Whether the model answers queries", 404, parameters=parameters)
        }
        paths[f"{path}/infer"] = {"post": _infer(f"infer{suffix}", parameters)}
    return paths


def _ready(name: str, summary: str, *errors: int, parameters: tuple[Described, ...] = ()) -> Described:
    described = _operation(name, summary, _json("Ready"), *errors, parameters=parameters)
    described["responses"]["503"] = _json("Ready", "Not now.")
    return described


def _infer(name: str, parameters: tuple[Described, ...]) -> Described:
    answer = _json("InferResponse", "The answers; with bytes behind the JSON where that was asked for.")
    answer["content"][_BINARY] = {"schema": {}}
    answer["headers"] = {
        "Inference-Header-Content-Length": {
            "description": "bytes of the JSON, where tensors' bytes follow it",
            "schema": {"type": "integer"},
        }
    }
    body = {
        "required": True,
        "content": {"application/json": {"schema": ref("InferRequest")}, _BINARY: {"schema": {}}},
    }
    return _operation(name, "Classify images", answer, *_INFERENCE, parameters=(*parameters, _LENGTH), requestBody=body)


def _operating(settings: ServingSettings) -> Described:
    state = {"name": "state", "in": "path", "required": True, "schema": {"type": "string", "enum": ["on", "off"]}}
    model = _query("model", "of which model; by default the first", type="string")
    file = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    paths = {
        "/v1/backup/{state}": {
            "post": _operation(
                "switch_backup",
                "Switch the backup on or off; from the gateway's own machine only",
                _json("Switched"),
                400,
                403,
                404,
                parameters=(state, model),
            )
        },
        "/v1/status": {
            "get": _operation("status", "What the first page shows", _json("Status"), 404, parameters=(model,))
        },
        "/v1/history": {
            "get": _operation(
                "history",
                "The first page's lines over time",
                _json("History"),
                400,
                404,
                parameters=(
                    model,
                    _query("range", "15m, 3h or 24h; by default 15m", type="string"),
                    _query("since", "a Unix time: only later points", type="number"),
                ),
            )
        },
        "/v1/stories": {
            "get": _operation("stories", "A few queries, step by step", _json("Stories"), 404, parameters=(model,))
        },
        "/v1/collage.png": {
            "get": _operation(
                "collage",
                "The last collage, as its model saw it",
                _bytes("image/png", "The picture."),
                404,
                parameters=(model, _query("version", "as the status named it; by default the last", type="string")),
            )
        },
        "/metrics": {"get": _operation("metrics", "For Prometheus", _bytes("text/plain", "Its text format."))},
        "/openapi.json": {"get": _operation("openapi", "This description", _bytes("application/json", "OpenAPI 3.1."))},
        "/": {"get": _operation("page", "The first page", _bytes("text/html", "A page."))},
        "/static/{name}": {
            "get": _operation("file", "A file of the first page", _bytes("*/*", "The file."), 404, parameters=(file,))
        },
    }
    if settings.demo:
        worker = _query("worker", "its id; by default the first that is up", type="string")
        paths["/demo/straggle"] = {
            "post": _operation(
                "straggle",
                "Make a worker slow for a while",
                _json("Straggling"),
                400,
                403,
                404,
                parameters=(worker, model),
            )
        }
    return paths
