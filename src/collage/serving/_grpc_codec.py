"""The Open Inference Protocol's gRPC messages to and from what the HTTP codec knows. Pure functions.

A request becomes the JSON's form with its tensor as bytes behind it, so that both transports check the same things in
the same words. Parameters are HTTP's; typed contents are taken beside raw ones, and answered in kind.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from collage.exceptions import InvalidInput
from collage.oip import message, read_parameters, write_parameters
from collage.serving._inputs import Classified
from collage.serving._oip_model import OipModel, server_metadata
from collage.serving._oip_request import InferRequest, read_request
from collage.serving._oip_response import said_of, scores_of, top_classes
from collage.serving._settings import ServingSettings

_InferResponse = message("ModelInferResponse")
_ServerMetadata = message("ServerMetadataResponse")
_ModelMetadata = message("ModelMetadataResponse")
_ModelStatistics = message("ModelStatisticsResponse")

_TYPED = {"FP32": "fp32_contents", "UINT8": "uint_contents", "BYTES": "bytes_contents"}


def parse_infer_message(request: Any, model: OipModel, settings: ServingSettings) -> InferRequest:
    """A ModelInferRequest -> the request. Raises InvalidInput and TooLarge, naming the field."""
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": read_parameters(tensor.parameters),
        }
        for tensor in request.inputs[:2]  # more than one are refused anyway
    ]
    tail = b""
    if len(inputs) == 1:
        tail = _bytes(request)
        inputs[0]["parameters"]["binary_data_size"] = len(tail)
    said = {
        "id": request.id,
        "parameters": read_parameters(request.parameters),
        "inputs": inputs,
        "outputs": [
            {"name": output.name, "parameters": read_parameters(output.parameters)} for output in request.outputs[:2]
        ],
    }
    return read_request(said, memoryview(tail), model, settings)


def encode_infer_message(request: InferRequest, answers: Sequence[Classified], model: OipModel, *, raw: bool) -> Any:
    """One answer per image of the request, in order -> a ModelInferResponse."""
    scores = scores_of(answers)  # (n, classes)
    response = _InferResponse(model_name=model.name, model_version=model.version, id=request.id)
    write_parameters(response.parameters, said_of(answers))
    output = response.outputs.add(name=model.output_name, datatype="FP32", shape=scores.shape)
    if request.classification:
        texts = [text for row in top_classes(scores, request.classification, model.classes) for text in row]
        output.datatype = "BYTES"
        output.shape[:] = [len(scores), request.classification]
        if raw:
            response.raw_output_contents.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        else:
            output.contents.bytes_contents.extend(texts)
    elif raw:
        response.raw_output_contents.append(scores.tobytes())
    else:
        output.contents.fp32_contents.extend(scores.ravel())
    return response


def server_message() -> Any:
    """A ServerMetadataResponse."""
    return _ServerMetadata(**server_metadata())


def model_message(model: OipModel, versions: Sequence[str]) -> Any:
    """A ModelMetadataResponse. It has no parameters: datatypes and classes are said by HTTP only."""
    metadata = model.metadata(versions)
    del metadata["parameters"]
    return _ModelMetadata(**metadata)


def statistics_message(model_stats: Sequence[dict[str, Any]]) -> Any:
    """A ModelStatisticsResponse."""
    return _ModelStatistics(model_stats=model_stats)


def _bytes(request: Any) -> bytes:
    """The one input's data, as raw contents have them."""
    (tensor,) = request.inputs
    raw = request.raw_input_contents
    if raw:
        if len(raw) != 1:
            raise InvalidInput(f"{len(raw)}; one for each of 1 inputs is needed", field="raw_input_contents")
        if tensor.HasField("contents"):
            raise InvalidInput("not together with raw_input_contents", field="inputs[0].contents")
        contents: bytes = raw[0]
        return contents
    field = _TYPED.get(tensor.datatype)
    if field is None:  # refused by its name later
        return b""
    values = getattr(tensor.contents, field)
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    if tensor.datatype == "FP32":
        return np.asarray(values, dtype="<f4").tobytes()
    pixels = np.asarray(values, dtype=np.uint32)
    if pixels.size and pixels.max() > 255:
        raise InvalidInput("UINT8 needs whole numbers from 0 to 255", field=f"inputs[0].contents.{field}")
    return pixels.astype(np.uint8).tobytes()
