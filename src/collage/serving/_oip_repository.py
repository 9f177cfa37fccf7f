"""The model repository extension's requests: index, load and unload. Pure functions.

A load says in its parameters what to serve: the keys of a `[[models]]` table but for its name, and keep. The same may
be a JSON object in the parameter "config", which is all that tritonclient's `load_model` can send:

    client.load_model("shoes", config='{"single": "shoes-2.onnx", "backup": "shoes-2-collage.onnx"}')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from collage.exceptions import InvalidInput
from collage.files import first_problem
from collage.serving._model_settings import ModelSettings, check_model_name
from collage.serving._oip_request import check_flag

_FILES = "file:"


class LoadOrder(NamedTuple):
    """keep: the version that is current now stays."""

    table: ModelSettings
    keep: bool


def parse_index(body: bytes) -> bool:
    """An index request, which may be empty -> whether only models that are ready are wanted."""
    return check_flag(_object(body).get("ready", False), "ready")


def parse_load(body: bytes) -> LoadOrder:
    """A load request, which may be empty. Raises InvalidInput that names the parameter."""
    return read_load(_parameters(body))


def parse_unload(body: bytes) -> str | None:
    """An unload request, which may be empty -> the one version that is to go, if only one."""
    return read_unload(_parameters(body))


def read_load(parameters: Mapping[str, Any]) -> LoadOrder:
    """The parameters of a load. Raises InvalidInput."""
    given = dict(parameters)
    config = given.pop("config", None)
    if config is not None:
        if not isinstance(config, str):
            raise InvalidInput("a JSON object in a string is needed", field="parameters.config")
        given |= _object(config.encode(), "parameters.config")
    files = [name for name in given if name.startswith(_FILES)]
    if files:
        raise InvalidInput(
            "models are not taken from requests; put the files where the gateway runs, and name them in 'single' and"
            " 'backup'",
            field=f"parameters.{files[0][:80]}",
        )
    keep = check_flag(given.pop("keep", False), "parameters.keep")
    if "name" in given:
        raise InvalidInput("the path says which model it is", field="parameters.name")
    try:
        return LoadOrder(ModelSettings.model_validate(given), keep)
    except ValidationError as error:
        raise InvalidInput(f"parameters.{first_problem(error)}") from None


def read_unload(parameters: Mapping[str, Any]) -> str | None:
    """The parameters of an unload; Triton's unload_dependents has nothing to say here. Raises InvalidInput."""
    version = parameters.get("version")
    if version is not None and not isinstance(version, str):
        raise InvalidInput("a string is needed", field="parameters.version")
    return version


def check_name(name: str) -> str:
    """Raises InvalidInput unless a model can be called so."""
    try:
        return check_model_name(name)
    except ValueError as error:
        raise InvalidInput(str(error), field="model") from None


def _parameters(body: bytes) -> dict[str, Any]:
    parameters = _object(body).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput("an object is needed", field="parameters")
    return parameters


def _object(content: bytes, field: str = "body") -> dict[str, Any]:
    try:
        found = orjson.loads(content) if content.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not valid JSON ({error})", field=field) from None
    if not isinstance(found, dict):
        raise InvalidInput("the JSON must be an object", field=field)
    return found
