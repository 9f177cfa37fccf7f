"""The client's side of the Open Inference Protocol over HTTP: tensors to bytes and back. Pure functions.

Whatever a server sends, reading it ends in an array or in a ValueError that says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson

from collage.engines._base import FloatArray

LENGTH_HEADER = "Inference-Header-Content-Length"
BINARY_EXTENSIONS = ("binary_tensor_data", "binary_data")  # by Triton's name and by others'
_MOST_AXES = 8


@dataclass(frozen=True)
class TensorForm:
    """A tensor by name and shape; -1: any size; None: any shape. The first axis is the batch's, and not compared."""

    name: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        return str(list(self.shape or ()))

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the shape is this one, but for the batch's axis and sizes that either leaves open."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            ours == theirs or ours < 0 or theirs < 0 for ours, theirs in zip(self.shape[1:], shape[1:], strict=True)
        )


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server, and what goes into it and comes out. version None: whichever the server takes."""

    name: str
    version: str | None
    input: TensorForm
    output: TensorForm


def encode_request(
    model: RemoteModel, request_id: str, inputs: FloatArray, *, binary: bool
) -> tuple[bytes, int | None]:
    """The body of an inference request for inputs (B, ...), and the length of its JSON where bytes follow it."""
    tensor: dict[str, Any] = {"name": model.input.name, "datatype": "FP32", "shape": list(inputs.shape)}
    output: dict[str, Any] = {"name": model.output.name}
    array = np.ascontiguousarray(inputs, dtype="<f4")
    if binary:
        tensor["parameters"] = {"binary_data_size": array.nbytes}
        output["parameters"] = {"binary_data": True}
    else:
        tensor["data"] = array.ravel()
    request = {"id": request_id, "inputs": [tensor], "outputs": [output]}
    head = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
    return (head + array.tobytes(), len(head)) if binary else (head, None)


def decode_response(body: bytes, header_length: str | None, model: RemoteModel, request_id: str) -> FloatArray:
    """The output tensor (B, ...) of an answer. Raises ValueError: not JSON, another's answer, another form."""
    size = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 12):
            raise ValueError(f"{LENGTH_HEADER} is {header_length[:20]!r}")
        size = int(header_length)
        if not 0 < size <= len(body):
            raise ValueError(f"{LENGTH_HEADER} is {size}, and the body has {len(body)} bytes")
    try:
        answer = orjson.loads(memoryview(body)[:size])
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the answer is not JSON ({error})") from None
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")
    check_names(model, request_id, answer.get("model_name"), answer.get("id"))
    tensor, tail = _find(answer.get("outputs"), memoryview(body)[size:], model.output.name)
    shape = check_form(model, tensor.get("datatype"), tensor.get("shape"))
    count = math.prod(shape)
    if tail is not None:
        return floats(tail, shape)
    numbers = _flatten(tensor.get("data"), count)
    if len(numbers) != count:
        raise ValueError(f"output {model.output.name!r} has {len(numbers)} numbers; shape {list(shape)} needs {count}")
    with np.errstate(over="ignore"):  # 1e300 becomes inf, which the code that decodes it refuses
        return np.asarray(numbers, dtype=np.float64).astype(np.float32).reshape(shape)


def floats(data: bytes | memoryview, shape: tuple[int, ...]) -> FloatArray:
    """Little-endian float32 bytes as an array of that shape. Raises ValueError where there are more or fewer."""
    if len(data) != math.prod(shape) * 4:
        raise ValueError(f"the output has {len(data)} bytes; FP32 of shape {list(shape)} takes {math.prod(shape) * 4}")
    return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)


def check_names(model: RemoteModel, request_id: str, model_name: object, answered_id: object) -> None:
    """Raises ValueError for the answer of another model or to another request. Either may be left out."""
    if model_name not in (None, "", model.name):
        raise ValueError(f"the answer is of model {str(model_name)[:80]!r}, not {model.name!r}")
    if answered_id not in (None, "", request_id):
        raise ValueError(f"the answer is to request {str(answered_id)[:80]!r}, not {request_id!r}")


def check_form(model: RemoteModel, datatype: object, shape: object) -> tuple[int, ...]:
    """The output's shape. Raises ValueError unless it is float32 of the form that the model's output has."""
    name = model.output.name
    if datatype != "FP32":
        raise ValueError(f"output {name!r} is {str(datatype)[:20]}, not FP32")
    if not isinstance(shape, Sequence) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"output {name!r} has no shape")
    if not model.output.fits(shape):
        raise ValueError(f"output {name!r} has shape {list(shape)[:8]}; {model.output} is needed")
    return tuple(shape)


def check_tensors(model: RemoteModel, metadata: Mapping[str, Any]) -> str | None:
    """What in a model's metadata says that it is not the model we mean; None: nothing does, as where it says little."""
    for kind, form in (("inputs", model.input), ("outputs", model.output)):
        tensors = metadata.get(kind)
        if not isinstance(tensors, list) or not tensors:
            continue
        there = {str(tensor.get("name")): tensor for tensor in tensors if isinstance(tensor, dict)}
        if form.name not in there:
            return f"model {model.name!r} has {kind} {', '.join(map(repr, there))[:200]}, and no {form.name!r}"
        datatype, shape = there[form.name].get("datatype"), there[form.name].get("shape")
        if datatype != "FP32":
            return f"{form.name!r} of model {model.name!r} is {datatype}; FP32 is needed"
        if isinstance(shape, list) and not (all(type(size) is int for size in shape) and form.fits(shape)):
            return f"{form.name!r} of model {model.name!r} has shape {shape[:8]}; {form} is needed"
    return None


def _find(outputs: object, tail: memoryview, name: str) -> tuple[dict[str, Any], memoryview | None]:
    """The output of that name, and its bytes where it is binary."""
    if not isinstance(outputs, list):
        raise ValueError("the answer has no outputs")
    start = 0
    for tensor in outputs:
        if not isinstance(tensor, dict):
            raise ValueError("an output of the answer is no object")
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is not None and (type(size) is not int or not 0 <= size <= len(tail) - start):
            raise ValueError(f"binary_data_size is {str(size)[:20]}, and {len(tail) - start} bytes are left")
        if tensor.get("name") == name:
            return tensor, None if size is None else tail[start : start + size]
        start += size or 0
    raise ValueError(f"the answer has no output {name!r}")


def _flatten(data: object, count: int) -> list[Any]:
    """Numbers out of flat or nested lists. Each is looked at, lest numpy take texts for numbers."""
    level = data
    for _ in range(_MOST_AXES):
        if not isinstance(level, list) or len(level) > max(count, 1):
            break
        kinds = set(map(type, level))
        if kinds <= {int, float}:
            return level
        if kinds != {list}:
            break
        level = list(chain.from_iterable(level))
    raise ValueError(f"the output's data are not {count} numbers")
