"""Requests of the Open Inference Protocol that are nearly right: JSON, the binary extension, and gRPC's messages."""

from __future__ import annotations

import base64
import json
import random
import struct
from functools import cache
from typing import Any

from collage.bench.chaos._identity import SIDE, pixels, png
from collage.bench.chaos.fuzz._mutate import mutated, mutated_tree, random_bytes
from collage.bench.chaos.fuzz._pictures import hostile_picture
from collage.oip import METHODS, write_parameters

MODEL = "identity"
_WORDS = (
    b'"inputs"',
    b'"shape":',
    b'"data":',
    b"null",
    b"NaN",
    b"1e999",
    b"[[[[",
    b"{}",
    b"\\ud800",
    b"18446744073709551616",
)
_NAMES = ("accept_degraded", "deadline_ms", "timeout", "binary_data_output", "priority", "sequence_id")


@cache
def trees() -> tuple[dict[str, Any], ...]:
    """Requests in JSON that are answered."""
    grey = pixels(7)
    files = [base64.b64encode(png(number)).decode() for number in (1, 2)]
    image = {"name": "images", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 1], "data": grey.ravel().tolist()}
    floats = (grey / 255).round(3)
    return (
        {"id": "1", "inputs": [image]},
        {"inputs": [image | {"data": [grey[..., None].tolist()]}], "outputs": [{"name": "logits"}]},
        {
            "inputs": [
                {"name": "images", "datatype": "FP32", "shape": [1, 1, SIDE, SIDE], "data": floats.ravel().tolist()}
            ]
        },
        {
            "parameters": {"deadline_ms": 5000, "accept_degraded": False, "binary_data_output": True},
            "inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "data": files}],
            "outputs": [{"name": "logits", "parameters": {"classification": 3, "binary_data": False}}],
        },
    )


def hostile_json(rng: random.Random) -> bytes:
    """A body of JSON."""
    data = json.dumps(mutated_tree(rng, rng.choice(trees()))).encode()
    return mutated(rng, data, _WORDS) if rng.random() < 0.3 else data


def hostile_binary(rng: random.Random) -> tuple[bytes, str]:
    """A body with bytes behind its JSON, and the header that says where they begin."""
    kind = rng.choice(("FP32", "UINT8", "BYTES"))
    count = rng.choice((0, 1, 1, 2, 5))
    files = [hostile_picture(rng) for _ in range(count)]
    tail = {
        "FP32": lambda: rng.randbytes(count * SIDE * SIDE * 4),
        "UINT8": lambda: rng.randbytes(count * SIDE * SIDE),
        "BYTES": lambda: b"".join(struct.pack("<I", len(file)) + file for file in files),
    }[kind]()
    shape = [count] if kind == "BYTES" else [count, 1, SIDE, SIDE]
    tensor = {"name": "images", "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(tail)}}
    tree: Any = {"inputs": [tensor], "parameters": {"binary_data_output": rng.random() < 0.5}}
    if rng.random() < 0.4:
        tail = mutated(rng, tail)
    if rng.random() < 0.5:
        tree = mutated_tree(rng, tree)
    head = json.dumps(tree).encode()
    said = str(rng.choice((len(head), len(head), len(head), len(head) - 1, len(head) + 1, 0, -1, "x", "٣", 10**12, "")))
    return head + tail, said


def hostile_message(rng: random.Random, method: str = "ModelInfer") -> bytes:
    """A request of gRPC's, as bytes."""
    message = METHODS[method].request()
    if method == "ModelInfer":
        _fill(rng, message)
    else:
        for field in message.DESCRIPTOR.fields:
            if field.type == field.TYPE_STRING and rng.random() < 0.7:
                setattr(message, field.name, rng.choice((MODEL, "", "1", "é" * 99)))
    data: bytes = message.SerializeToString()
    return mutated(rng, data, (b"\x0a\xff\xff\xff\xff\x0f", b"\x2a\x00", b"\x0b\x0c")) if rng.random() < 0.3 else data


def _fill(rng: random.Random, message: Any) -> None:
    """A request that would be answered, but for the one thing or the other."""
    message.model_name = MODEL
    kind, count, raw = rng.choice(("FP32", "UINT8", "BYTES")), rng.choice((1, 1, 2, 4)), rng.random() < 0.5
    tensor = message.inputs.add(name="images", datatype=kind)
    tensor.shape.extend([count] if kind == "BYTES" else [count, 1, SIDE, SIDE])
    files = [rng.choice((png(3), hostile_picture(rng))) for _ in range(count)]
    if raw:
        tails = {
            "FP32": lambda: bytes(4 * count * SIDE * SIDE),
            "UINT8": lambda: rng.randbytes(count * SIDE * SIDE),
            "BYTES": lambda: b"".join(struct.pack("<I", len(file)) + file for file in files),
        }
        message.raw_input_contents.append(tails[kind]())
    elif kind == "BYTES":
        tensor.contents.bytes_contents.extend(files)
    elif kind == "FP32":
        tensor.contents.fp32_contents.extend([rng.choice((0.5, 0.5, float("nan"), 1e38))] * (count * SIDE * SIDE))
    else:
        tensor.contents.uint_contents.extend([rng.choice((0, 255, 255, 256, 2**32 - 1))] * (count * SIDE * SIDE))
    for _ in range(int(rng.expovariate(1.0))):
        _spoil(rng, message, tensor)


def _spoil(rng: random.Random, message: Any, tensor: Any) -> None:
    match rng.randrange(9):
        case 0:
            message.model_name, message.model_version = rng.choice((MODEL, "other")), rng.choice(("", "1", "2"))
        case 1:
            message.id = rng.choice(("7", "\0", "é" * 300))
        case 2:
            write_parameters(message.parameters, {name: _value(rng) for name in rng.sample(_NAMES, 2)})
        case 3:
            tensor.shape[:] = rng.choice(([], [0], [-1], [2, 1], [300], [2**62] * 4, [1] * 20))
        case 4:
            write_parameters(tensor.parameters, {"layout": rng.choice(("NCHW", "NHWC", "x")), "binary_data_size": 3})
        case 5:
            message.raw_input_contents.append(random_bytes(rng))
        case 6:
            output = message.outputs.add(name=rng.choice(("logits", "logits", "x")))
            write_parameters(output.parameters, {"classification": rng.choice((1, 5, -1, 2**40))})
        case 7:
            message.inputs.add(name="images", datatype="FP32")
        case _:
            tensor.datatype = rng.choice(("INT64", "", "FP32", "BYTES", "é"))


def _value(rng: random.Random) -> bool | int | float | str:
    values: tuple[bool | int | float | str, ...] = (
        True,
        False,
        0,
        1,
        -5,
        2**62,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x",
    )
    return rng.choice(values)
