"""The part of the OpenAPI description that is about the model repository and statistics: its paths, and its schemas."""

from __future__ import annotations

from typing import Any

from collage.dispatch import Source
from collage.serving._model_settings import ModelSettings

Described = dict[str, Any]

_TEXT: Described = {"type": "string"}
_COUNT: Described = {"type": "integer", "minimum": 0}
_STATES = ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]


def _path(name: str, description: str) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT, "description": description}


_MODEL = _path("model", "its name")
_VERSION = _path("version", "of the model")


def repository_paths() -> Described:
    """By path and method."""
    body, own = (400, 408, 413, 415, 503), "; from the gateway's own machine only"
    return {
        "/v2/repository/index": {
            "post": _operation(
                "index", "Which models and versions there are", "Index", *body, requestBody=_body("IndexRequest")
            )
        },
        "/v2/repository/models/{model}/load": {
            "post": _operation(
                "load",
                f"Serve another version of a model, or another model{own}",
                "Loaded",
                *(*body, 403, 404),
                parameters=[_MODEL],
                requestBody=_body("LoadRequest"),
            )
        },
        "/v2/repository/models/{model}/unload": {
            "post": _operation(
                "unload",
                f"Stop serving a model, or a version of it{own}",
                "Unloaded",
                *(*body, 403, 404),
                parameters=[_MODEL],
                requestBody=_body("UnloadRequest"),
            )
        },
        "/v2/models/stats": {"get": _operation("statistics", "What all models have done", "Statistics")},
        "/v2/models/{model}/stats": {
            "get": _operation(
                "model_statistics", "What a model's versions have done", "Statistics", 404, parameters=[_MODEL]
            )
        },
        "/v2/models/{model}/versions/{version}/stats": {
            "get": _operation(
                "model_statistics_version",
                "What a version has done",
                "Statistics",
                404,
                parameters=[_MODEL, _VERSION],
            )
        },
    }


def repository_schemas() -> Described:
    """By name."""
    duration = _object(count=_COUNT, ns={**_COUNT, "description": "nanoseconds, of all together"})
    stages = dict.fromkeys(("queue", "compute_input", "compute_infer", "compute_output"), duration)
    of_source = _object(answers=duration, **stages, executions=duration)
    requests = _object(success=duration, fail=duration, **stages, cache_hit=duration, cache_miss=duration)
    of_batch = _object(batch_size=_COUNT, compute_input=duration, compute_infer=duration, compute_output=duration)
    version = _object(
        name=_TEXT,
        version=_TEXT,
        last_inference={**_COUNT, "description": "milliseconds since 1970; 0: none yet"},
        inference_count={**_COUNT, "description": "queries answered"},
        execution_count={**_COUNT, "description": "jobs that gave an output, of all kinds"},
        inference_stats={**requests, "description": "of requests; of several queries, the one answered last"},
        batch_stats={
            "type": "array",
            "items": of_batch,
            "description": "runs of the single",
        },
        sources={
            "type": "object",
            "propertyNames": {"enum": [source.value for source in Source]},
            "additionalProperties": of_source,
            "description": "of queries, by the kind of job that answered them; not Triton's",
        },
    )
    entry = _object(
        name=_TEXT,
        version=_TEXT,
        state={"type": "string", "enum": _STATES},
        reason={"type": "string", "description": "why it is not ready"},
    )
    return {
        "IndexRequest": _optional(ready={"type": "boolean", "description": "only those that are ready"}),
        "Index": {"type": "array", "items": entry},
        "LoadRequest": _optional(parameters=_load_parameters()),
        "Loaded": _object(name=_TEXT, version={"type": "string", "description": "current from now on"}),
        "UnloadRequest": _optional(
            parameters=_optional(
                version={"type": "string", "description": "only this one"},
                unload_dependents={"description": "Triton's; there are none"},
            )
        ),
        "Unloaded": _object(name=_TEXT),
        "Statistics": _object(model_stats={"type": "array", "items": version}),
    }


def _load_parameters() -> Described:
    parameters = {
        name: {"description": field.description} for name, field in ModelSettings.model_fields.items() if name != "name"
    }
    parameters["keep"] = {"type": "boolean", "description": "the version that is current now stays, under its number"}
    parameters["config"] = {"type": "string", "description": "a JSON object of these"}
    return {
        "type": "object",
        "properties": parameters,
        "additionalProperties": False,
        "description": "what is left out is as the version has it that is current now",
    }


def _operation(name: str, summary: str, answer: str, *errors: int, **more: object) -> Described:
    content = {"application/json": {"schema": _ref(answer)}}
    responses: Described = {"200": {"description": answer, "content": content}}
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(errors)}
    return {"operationId": name, "summary": summary, **more, "responses": responses}


def _body(schema: str) -> Described:
    return {"required": False, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(schema: str) -> Described:
    return {"$ref": f"#/components/schemas/{schema}"}


def _object(**properties: Described) -> Described:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _optional(**properties: Described) -> Described:
    return {"type": "object", "properties": properties}
