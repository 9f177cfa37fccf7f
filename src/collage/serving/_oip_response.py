"""Answers -> the Open Inference Protocol's inference response, JSON and binary. Pure functions.

The protocol's parameters are strings, numbers and booleans; what is said of each image is a JSON list in a string:

    "parameters": {"source": "[\\"single\\",\\"collage\\"]", "degraded": "[false,true]", "confidence": "[0.98,0.71]",
                   "milliseconds": "[8.1,40.2]"}    from submission to answer
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from collage.serving._inputs import Classified
from collage.serving._oip_model import OipModel
from collage.serving._oip_request import InferRequest


class EncodedResponse(NamedTuple):
    """A body; json_size: length of its JSON part where tensors' bytes follow, otherwise None."""

    body: bytes
    json_size: int | None


def encode_response(request: InferRequest, answers: Sequence[Classified], model: OipModel) -> EncodedResponse:
    """One answer per image of the request, in order -> the response."""
    scores = scores_of(answers)  # (n, classes)
    output: dict[str, Any] = {"name": model.output_name}
    tail = b""
    if request.classification:
        texts = top_classes(scores, request.classification, model.classes)
        output |= {"datatype": "BYTES", "shape": [len(texts), request.classification]}
        if request.binary_output:
            tail = b"".join(struct.pack("<I", len(text)) + text for row in texts for text in row)
        else:
            output["data"] = [text.decode() for row in texts for text in row]
    else:
        output |= {"datatype": "FP32", "shape": list(scores.shape)}
        if request.binary_output:
            tail = scores.tobytes()
        else:
            output["data"] = np.ascontiguousarray(scores, dtype=np.float32).ravel()
    if request.binary_output:
        output["parameters"] = {"binary_data_size": len(tail)}
    response: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id:
        response["id"] = request.id
    response["parameters"] = said_of(answers)
    response["outputs"] = [output]
    head = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    return EncodedResponse(head + tail, len(head) if request.binary_output else None)


def scores_of(answers: Sequence[Classified]) -> NDArray[np.float32]:
    """All answers' scores (n, classes), little-endian."""
    if len(answers) == 1:
        return answers[0].scores[np.newaxis].astype("<f4", copy=False)
    return np.stack([answer.scores for answer in answers]).astype("<f4", copy=False)


def said_of(answers: Sequence[Classified]) -> dict[str, str]:
    """The response's parameters."""
    return {
        "source": orjson.dumps([answer.source.value for answer in answers]).decode(),
        "degraded": orjson.dumps([answer.degraded for answer in answers]).decode(),
        "confidence": orjson.dumps([round(float(answer.confidence), 6) for answer in answers]).decode(),
        "milliseconds": orjson.dumps([round(answer.seconds * 1e3, 3) for answer in answers]).decode(),
    }


def top_classes(scores: NDArray[np.float32], count: int, classes: Sequence[str]) -> list[list[bytes]]:
    """The highest `count` of each row as "score:index:label", as Triton writes them."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return [
        [f"{row[index]:f}:{index}:{classes[index]}".encode() for index in best]
        for row, best in zip(scores, order, strict=True)
    ]
