"""The protocol's parameters: a map of messages, each of which holds one string, number or boolean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIELDS: dict[type, str] = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}


def read_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a message as plain values; one without a value is left out."""
    found = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(parameter, kind)
    return found


def write_parameters(parameters: Any, values: Mapping[str, str | bool | int | float]) -> None:
    """Into a message's parameters."""
    for name, value in values.items():
        setattr(parameters[name], _FIELDS[type(value)], value)
