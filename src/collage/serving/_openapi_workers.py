"""The part of the OpenAPI description that is about workers: its paths, and its schemas."""

from __future__ import annotations

from typing import Any

Described = dict[str, Any]

_STATES = ["up", "starting", "draining", "drained", "leaving", "gone"]
_WORKER = {"name": "worker", "in": "path", "required": True, "schema": {"type": "string"}, "description": "its id"}
_MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "of which model; by default the first",
}
_COUNT = {
    "name": "count",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": 64, "default": 1},
    "description": "how many",
}


def worker_paths() -> Described:
    """By path and method."""
    state = _answer("WorkerState", "What it is now.")
    return {
        "/v1/workers": {
            "get": _operation(
                "workers",
                "Who is there, and how many should be",
                {"200": _answer("Workers")},
                404,
                503,
                parameters=[_MODEL],
            ),
            "post": _operation(
                "add_workers",
                "Start workers; from the gateway's own machine only",
                {"201": _answer("AddedWorkers")},
                400,
                403,
                404,
                503,
                parameters=[_COUNT, _MODEL],
            ),
        },
        "/v1/workers/{worker}": {
            "delete": _operation(
                "remove_worker",
                "Drain a worker, then stop it; from the gateway's own machine only",
                {"200": state, "202": _answer("WorkerState", "It still runs a job.")},
                400,
                403,
                404,
                503,
                parameters=[_WORKER, _MODEL],
            )
        },
        "/v1/workers/{worker}/drain": {"post": _change("drain_worker", "Give a worker nothing new", state)},
        "/v1/workers/{worker}/resume": {"post": _change("resume_worker", "Let a drained worker take jobs", state)},
    }


def worker_schemas() -> Described:
    """By name."""
    count, number = {"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0}
    maybe = {"anyOf": [number, {"type": "null"}]}
    worker = _object(
        id={"type": "string"},
        state={"type": "string", "enum": _STATES},
        roles={"type": "array", "items": {"type": "string"}},
        jobs=count,
        done=count,
        failed=count,
        speed=maybe,
    )
    scaling = _object(min=count, max=count, target_utilisation=number, demand=maybe, start_up_seconds=maybe)
    return {
        "Workers": _object(
            workers={"type": "array", "items": worker},
            elastic={"type": "boolean", "description": "whether workers can be added and removed, not only drained"},
            scaling={
                "anyOf": [scaling, {"type": "null"}],
                "description": "how they follow the load; null: they do not",
            },
        ),
        "AddedWorkers": _object(added={"type": "array", "items": {"type": "string"}}),
        "WorkerState": _object(worker={"type": "string"}, state={"type": "string", "enum": _STATES}),
    }


def _operation(name: str, summary: str, answers: Described, *errors: int, **more: object) -> Described:
    responses = answers | {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}
    return {"operationId": name, "summary": summary, **more, "responses": responses}


def _change(name: str, summary: str, answer: Described) -> Described:
    summary += "; from the gateway's own machine only"
    return _operation(name, summary, {"200": answer}, 400, 403, 404, 503, parameters=[_WORKER, _MODEL])


def _answer(schema: str, description: str = "") -> Described:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description or schema, "content": content}


def _object(**properties: Described) -> Described:
    return {"type": "object", "properties": properties, "required": list(properties)}
