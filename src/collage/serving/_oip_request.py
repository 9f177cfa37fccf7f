"""The Open Inference Protocol's inference request, JSON and the binary tensor data extension. Pure functions.

With the extension the body is the JSON, as long as the header Inference-Header-Content-Length says, followed by the
tensors' bytes in the order of `inputs`, each as long as its parameter "binary_data_size" says.

Request parameters read here: accept_degraded (bool), deadline_ms (number), binary_data_output (bool), and Triton's
timeout (microseconds), which is a deadline too. Others are other servers' and are passed over, as the protocol wants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from collage.exceptions import InvalidInput, TooLarge
from collage.serving._inputs import ImageInput
from collage.serving._oip_model import OipModel
from collage.serving._oip_tensors import Data, images_of
from collage.serving._options import QueryOptions, check_deadline
from collage.serving._settings import ServingSettings

LENGTH_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class InferRequest:
    """A request, checked but for the images' contents.

    classification: 0, or how many "score:index:label" strings an image's output is turned into.
    """

    id: str
    images: list[ImageInput]
    options: QueryOptions
    binary_output: bool
    classification: int


def parse_infer(body: bytes, header_length: str | None, model: OipModel, settings: ServingSettings) -> InferRequest:
    """A request's body, and the value of Inference-Header-Content-Length where sent -> the request.

    Raises InvalidInput and TooLarge, naming the field as a path in the JSON: "inputs[0].shape".
    """
    size = len(body) if header_length is None else _header_size(header_length, len(body))
    if size > settings.max_json_bytes:
        raise TooLarge(
            f"{size:,} bytes of JSON; at most {settings.max_json_bytes:,}, use the binary tensor data extension",
            field="body",
        )
    view = memoryview(body)
    try:
        request = orjson.loads(view[:size])
    except orjson.JSONDecodeError as error:  # also for NaN, bad UTF-8, and nesting deeper than its limit
        raise InvalidInput(f"not valid JSON ({error})", field="body") from None
    if not isinstance(request, dict):
        raise InvalidInput("the JSON must be an object", field="body")
    return read_request(request, view[size:], model, settings)


def read_request(request: dict[str, Any], tail: memoryview, model: OipModel, settings: ServingSettings) -> InferRequest:
    """The request in its JSON's form, and the bytes behind it -> the request. Raises as `parse_infer` does."""
    parameters = _object(request.get("parameters"), "parameters")
    binary_output, classification = _output(request, parameters, model)
    return InferRequest(
        id=_text(request.get("id", ""), "id"),
        images=_images(request, tail, model, settings),
        options=_options(parameters, settings),
        binary_output=binary_output,
        classification=classification,
    )


def _header_size(value: str, body_size: int) -> int:
    # isdecimal() alone would take digits of any script, and int() a line of ten thousand of them.
    if not (value.isascii() and value.isdecimal() and len(value) <= 12) or not 0 < int(value) <= body_size:
        raise InvalidInput(
            f"{value[:20]!r}; a whole number from 1 to the body's {body_size} bytes is needed", field=LENGTH_HEADER
        )
    return int(value)


def _images(request: dict[str, Any], tail: memoryview, model: OipModel, settings: ServingSettings) -> list[ImageInput]:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise InvalidInput(f"a list of exactly one tensor, {model.input_name!r}, is needed", field="inputs")
    field = "inputs[0]"
    tensor = _object(inputs[0], field, required=True)
    name, shape = tensor.get("name"), tensor.get("shape")
    if name != model.input_name:
        raise InvalidInput(
            f"{str(name)[:80]!r}; the input of {model.name} is {model.input_name!r}", field=f"{field}.name"
        )
    if not isinstance(shape, list):
        raise InvalidInput("a list of whole numbers is needed", field=f"{field}.shape")
    parameters = _object(tensor.get("parameters"), f"{field}.parameters")
    if "shared_memory_region" in parameters:
        raise InvalidInput("not supported; send the data", field=f"{field}.parameters.shared_memory_region")
    layout = parameters.get("layout")
    return images_of(
        _text(tensor.get("datatype"), f"{field}.datatype"),
        shape,
        _data(tensor, parameters, tail, field),
        layout=None if layout is None else _text(layout, f"{field}.parameters.layout"),
        model=model,
        max_images=settings.max_images,
        field=field,
    )


def _data(tensor: dict[str, Any], parameters: dict[str, Any], tail: memoryview, field: str) -> Data:
    size = parameters.get("binary_data_size")
    if size is None:
        if len(tail):
            raise InvalidInput(f"{len(tail)} bytes follow the JSON that no tensor claims", field="body")
        data = tensor.get("data")
        if not isinstance(data, list):
            raise InvalidInput("a list, or the parameter binary_data_size, is needed", field=f"{field}.data")
        return data
    if "data" in tensor:
        raise InvalidInput("not together with binary_data_size", field=f"{field}.data")
    if type(size) is not int or size != len(tail):
        raise InvalidInput(
            f"{str(size)[:20]}; {len(tail)} bytes follow the JSON", field=f"{field}.parameters.binary_data_size"
        )
    return tail


def _output(request: dict[str, Any], parameters: dict[str, Any], model: OipModel) -> tuple[bool, int]:
    """Whether the output goes as bytes, and how many classes of it are wanted by name (0: the tensor itself)."""
    binary = check_flag(parameters.get("binary_data_output", False), "parameters.binary_data_output")
    outputs = request.get("outputs", [])
    if not isinstance(outputs, list) or len(outputs) > 1:
        raise InvalidInput(f"a list of at most one tensor, {model.output_name!r}, is needed", field="outputs")
    if not outputs:
        return binary, 0
    field = "outputs[0]"
    tensor = _object(outputs[0], field, required=True)
    name = tensor.get("name")
    if name != model.output_name:
        raise InvalidInput(
            f"{str(name)[:80]!r}; the output of {model.name} is {model.output_name!r}", field=f"{field}.name"
        )
    own = _object(tensor.get("parameters"), f"{field}.parameters")
    if "shared_memory_region" in own:
        raise InvalidInput("not supported; leave it out", field=f"{field}.parameters.shared_memory_region")
    count = own.get("classification", 0)
    if type(count) is not int or count < 0:
        raise InvalidInput("a whole number from 0 is needed", field=f"{field}.parameters.classification")
    binary = check_flag(own.get("binary_data", binary), f"{field}.parameters.binary_data")
    return binary, min(count, len(model.classes))


def _options(parameters: dict[str, Any], settings: ServingSettings) -> QueryOptions:
    deadline = settings.default_deadline
    if "deadline_ms" in parameters:
        field = "parameters.deadline_ms"
        deadline = check_deadline(_number(parameters["deadline_ms"], field), settings, field)
    elif "timeout" in parameters:
        field = "parameters.timeout"
        microseconds = _number(parameters["timeout"], field)
        if not math.isfinite(microseconds) or microseconds < 0:
            raise InvalidInput(f"{microseconds:g}; microseconds from 0 (none) are needed", field=field)
        if microseconds > 0:
            deadline = min(microseconds / 1e6, settings.max_deadline)
    accept = check_flag(parameters.get("accept_degraded", True), "parameters.accept_degraded")
    return QueryOptions(accept_degraded=accept, deadline=deadline)


def _object(value: object, field: str, *, required: bool = False) -> dict[str, Any]:
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput("an object is needed", field=field)
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("a string is needed", field=field)
    return value


def check_flag(value: object, field: str) -> bool:
    """Raises InvalidInput unless it is true or false."""
    if not isinstance(value, bool):
        raise InvalidInput("true or false is needed", field=field)
    return value


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput("a number is needed", field=field)
    return float(value)
