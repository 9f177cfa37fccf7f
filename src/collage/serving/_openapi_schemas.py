"""The OpenAPI description's schemas: what JSON comes and goes. Limits are the gateway's own settings."""

from __future__ import annotations

from typing import Any

from collage.dispatch import Source
from collage.serving._history import COLUMNS
from collage.serving._openapi_repository import repository_schemas
from collage.serving._openapi_workers import worker_schemas
from collage.serving._settings import ServingSettings

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema of this file by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas(settings: ServingSettings) -> dict[str, Schema]:
    """All of them by name."""
    return {
        "Error": _object("What is wrong, in one line that names what is at fault.", error=_text("the field, and why")),
        **_protocol(),
        **_infer(settings),
        **_plain(),
        **worker_schemas(),
        **repository_schemas(),
    }


def _object(description: str, /, *, optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    schema: Schema = {"type": "object", "description": description, "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return schema


def _text(description: str = "", **more: object) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _flag(description: str = "") -> Schema:
    return {"type": "boolean", **({"description": description} if description else {})}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_COUNT: Schema = {"type": "integer", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_SOURCE = {
    "type": "string",
    "enum": [source.value for source in Source],
    "description": "the job that answered: single, replica (a second run of it), or a backup",
}


def _protocol() -> dict[str, Schema]:
    tensor = _object(
        "A tensor's form.",
        name=_text(),
        datatype=_text(),
        shape=_list({"type": "integer"}, description="-1: any"),
    )
    return {
        "Live": _object("The process answers.", live=_flag()),
        "Ready": _object(
            "Whether queries are answered.", ready=_flag(), optional={"name": _text(), "error": _text("why not")}
        ),
        "Server": _object("Server metadata.", name=_text(), version=_text(), extensions=_list(_text())),
        "Model": _object(
            "Model metadata.",
            name=_text(),
            versions=_list(_text()),
            platform=_text(),
            inputs=_list(tensor),
            outputs=_list(tensor),
            parameters=_object(
                "Of this server.",
                input_datatypes=_text("datatypes that the input is taken in"),
                scores=_text("what the output is", enum=["logits", "probabilities"]),
                classes=_text("a JSON list of the classes' names, in order of the output"),
            ),
        ),
    }


def _infer(settings: ServingSettings) -> dict[str, Schema]:
    parameters = {
        "accept_degraded": _flag("whether a backup's answer will do; by default it does"),
        "deadline_ms": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": settings.max_deadline * 1e3,
            "description": "milliseconds an answer may take",
        },
        "timeout": {"type": "number", "minimum": 0, "description": "the same in microseconds, as Triton's; 0: none"},
        "binary_data_output": _flag("the output as bytes behind the JSON"),
    }
    given = _object(
        "The images.",
        name=_text("of the model's input"),
        datatype=_text(enum=["FP32", "UINT8", "BYTES"]),
        shape=_list(
            {"type": "integer", "minimum": 1},
            minItems=1,
            maxItems=4,
            description=f"FP32: [n, C, H, W] or [n, H, W, C], the model's own; UINT8: [n, H, W, C], [n, C, H, W] or"
            f" [n, H, W]; BYTES: [n] or [n, 1]; n is at most {settings.max_images}",
        ),
        optional={
            "data": _list(
                {}, description="numbers, flat or nested; of BYTES, JPEG, PNG or WebP files in base64. Not with binary"
            ),
            "parameters": _object(
                "Of the tensor.",
                optional={
                    "binary_data_size": _COUNT | {"description": "bytes behind the JSON that are its data"},
                    "layout": _text("where the shape fits both", enum=["NCHW", "NHWC"]),
                },
            ),
        },
    )
    wanted = _object(
        "The scores.",
        name=_text("of the model's output"),
        optional={
            "parameters": _object(
                "Of the output.",
                optional={
                    "classification": _COUNT | {"description": 'so many "score:index:label" an image; 0: the scores'},
                    "binary_data": _flag("as bytes behind the JSON"),
                },
            )
        },
    )
    output = _object(
        "The scores, or the best classes.",
        name=_text(),
        datatype=_text(enum=["FP32", "BYTES"]),
        shape=_list(_COUNT),
        optional={
            "data": _list({"type": ["number", "string"]}),
            "parameters": _object("Of the tensor.", optional={"binary_data_size": _COUNT}),
        },
    )
    said = _object(
        "Of each image, a JSON list in a string.",
        source=_text(),
        degraded=_text(),
        confidence=_text("calibrated probability of the best class, 0 to 1"),
        milliseconds=_text("from submission to answer"),
    )
    return {
        "InferRequest": _object(
            "An inference request; parameters that no field here names are passed over.",
            inputs=_list(given, minItems=1, maxItems=1),
            optional={
                "id": _text("comes back with the answer"),
                "parameters": {"type": "object", "properties": parameters},
                "outputs": _list(wanted, maxItems=1),
            },
        ),
        "InferResponse": _object(
            "One answer an image, in order.",
            model_name=_text(),
            model_version=_text(),
            parameters=said,
            outputs=_list(output, minItems=1, maxItems=1),
            optional={"id": _text()},
        ),
    }


_STORY = _object(
    "One query.",
    query=_COUNT | {"description": "a number that no other query of the gateway has"},
    age=_SECONDS,
    outcome=_or_null(_text("its source, or why it was rejected")),
    seconds=_or_null(_SECONDS),
    control=_flag("its losers ran to the end"),
    shares_with=_or_null(_COUNT),
    jobs=_list(
        _object(
            "One of its jobs.",
            source=_SOURCE,
            worker=_text(),
            queries=_COUNT | {"description": "in the job"},
            began=_SECONDS,
            ended=_or_null(_SECONDS),
            how=_text(enum=["running", "done", "failed", "lost", "cancelled"]),
            won=_flag("its answer was given"),
        )
    ),
)


def _plain() -> dict[str, Schema]:
    best = _object("One class.", label=_text(), index=_COUNT, probability=_SHARE)
    latency = _object(
        "Of the window, seconds.",
        count=_COUNT,
        p50=_or_null(_SECONDS),
        p99=_or_null(_SECONDS),
        p999=_or_null(_SECONDS),
    )
    return {
        "Answer": _object(
            "An image's answer.",
            label=_text(),
            index=_COUNT,
            confidence=_SHARE,
            top=_list(best, minItems=1),
            source=_SOURCE,
            degraded=_flag("another model than the single answered"),
            milliseconds=_SECONDS,
            model=_text(),
        ),
        "Switched": _object("The backup's state.", backup=_text("its name"), on=_flag()),
        "Status": _object(
            "What the first page shows; more than is said here.",
            model=_text("whose all this is"),
            models=_list(_text(), minItems=1, description="those that can be asked for"),
            ready=_flag(),
            single=_text(),
            backup=_or_null(_text()),
            policy=_text(),
            latency=latency,
            in_flight=_COUNT,
            queued=_COUNT,
            sources={"type": "object", "additionalProperties": _COUNT},
            workers=_list({"type": "object"}),
        ),
        "History": _object(
            "Points, oldest first; null is a gap.",
            range=_text(enum=["15m", "3h", "24h"]),
            interval=_SECONDS | {"description": "seconds between points"},
            length=_COUNT | {"description": "the most points that there are"},
            windows={
                "type": "object",
                "additionalProperties": _or_null(_SECONDS),
                "description": "seconds that the newest percentiles are over",
            },
            budget={
                "type": ["number", "null"],
                "description": "extra work that the policy allows, over the singles' work",
            },
            agreement_least=_or_null(_SHARE),
            points=_object(
                "Unix times, and a value for each.",
                at=_list({"type": "number"}),
                **{name: _list(_or_null({"type": "number"})) for name in COLUMNS},
            ),
        ),
        "Stories": _object(
            "Queries that are over. Times are seconds since each was submitted.",
            **{name: _list(_STORY) for name in ("backed", "slowest", "last")},
        ),
        "Straggling": _object(
            "The worker that was made slow.", worker=_text(), seconds_per_job=_SECONDS, for_seconds=_SECONDS
        ),
    }
