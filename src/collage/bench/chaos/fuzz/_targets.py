"""What takes bytes from outside, one target each: what it is given, and what it may say to it.

A target's `run` takes one input. It returns whether it was taken, or refused as it should be: by an error that is meant
for it, in one line of text that can be sent. Whatever else is raised has escaped, and is a bug.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from collage.bench.chaos._identity import SIDE, label_of
from collage.bench.chaos.fuzz import _files
from collage.bench.chaos.fuzz._mutate import mutated, mutated_tree, random_bytes
from collage.bench.chaos.fuzz._pictures import hostile_picture
from collage.bench.chaos.fuzz._requests import MODEL, hostile_binary, hostile_json, hostile_message
from collage.client.readers import read_answers, read_index, read_model, refusal
from collage.engines import RemoteModel, TensorForm
from collage.engines.readers import (
    HEADER,
    MAGIC,
    Frame,
    Kind,
    Parser,
    WireError,
    check_tensors,
    decode_response,
    pack,
)
from collage.exceptions import CollageError, GatewayError, InvalidInput
from collage.imaging import ImageLimits, Preprocessing
from collage.oip import METHODS
from collage.serving import Encoded, ServingSettings, load_settings
from collage.serving.readers import (
    InferRequest,
    OipModel,
    Preparer,
    parse_index,
    parse_infer,
    parse_infer_message,
    parse_load,
    parse_unload,
)

_LIMITS = ImageLimits(max_bytes=2**20, max_pixels=2**20)


class Target(NamedTuple):
    """what: its inputs, in words. make: one of them; run: whether it was taken. needs: a package."""

    name: str
    what: str
    make: Callable[[random.Random], bytes]
    run: Callable[[bytes], bool]
    needs: str | None = None


class Unsayable(AssertionError):
    """A refusal that could not be sent, or is not in one line."""


def taken(call: Callable[[], object], refusals: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """False where the call refuses by such an error. Whatever else it raises goes through."""
    try:
        call()
    except refusals as error:
        text = str(error)
        try:
            text.encode()
        except UnicodeEncodeError as reason:
            raise Unsayable(f"{type(error).__name__}: {reason}") from error
        if not text or "\n" in text or len(text) > 2000:
            raise Unsayable(f"{len(text)} characters, {text.count(chr(10))} line ends: {text[:200]!r}") from error
        return False
    return True


@cache
def _model() -> OipModel:
    classes = tuple(map(label_of, range(4)))
    return OipModel(MODEL, "1", classes, "logits", "images", (1, SIDE, SIDE), "logits")


@cache
def _serving() -> ServingSettings:
    return load_settings()


@cache
def _preparer() -> Preparer:
    single = Preprocessing(size=SIDE, channels=1, mean=(0.5,), std=(0.5,))
    tile = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.5,))
    return Preparer(single, [tile], _LIMITS, digests=True)


def _image(data: bytes) -> bool:
    return taken(lambda: _preparer().prepare(Encoded(data), "image"), InvalidInput)


def _prepared(request: InferRequest) -> None:
    """As the data plane goes on with it."""
    for index, image in enumerate(request.images):
        _preparer().prepare(image, f"inputs[0][{index}]")


def _json(data: bytes) -> bool:
    for parse in (parse_index, parse_load, parse_unload):
        taken(partial(parse, data), InvalidInput)
    return taken(lambda: _prepared(parse_infer(data, None, _model(), _serving())), InvalidInput)


def _make_binary(rng: random.Random) -> bytes:
    body, said = hostile_binary(rng)
    return said.encode() + b"\n" + body


def _binary(data: bytes) -> bool:
    said, _, body = data.partition(b"\n")
    return taken(
        lambda: _prepared(parse_infer(body, said.decode(errors="replace"), _model(), _serving())), InvalidInput
    )


def _message(data: bytes) -> bool:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - only where it is asked for

    try:
        request = METHODS["ModelInfer"].request.FromString(data)
    except DecodeError:
        return False
    return taken(lambda: _prepared(parse_infer_message(request, _model(), _serving())), InvalidInput)


def _make_frames(rng: random.Random) -> bytes:
    whole = b""
    for _ in range(rng.randrange(1, 4)):
        shape = tuple(rng.choice((0, 1, 2, 4, 2**32 - 1)) for _ in range(rng.randrange(9)))
        payload = random_bytes(rng, 300) if rng.random() < 0.5 else bytes(4 * rng.choice((1, 2, 4, 8)))
        kind = rng.choice(list(Kind))
        whole += pack(Frame(kind, rng.getrandbits(64), rng.randrange(256), rng.random(), shape, payload))
    if rng.random() < 0.2:
        whole = HEADER.pack(MAGIC, rng.randrange(256), 0, rng.randrange(12), 1, float("nan"), *range(8), 2**31) + whole
    return mutated(rng, whole, (MAGIC,)) if rng.random() < 0.7 else whole


def _frames(data: bytes) -> bool:
    step = 1 + sum(data[:4]) % 97

    def read() -> None:
        parser = Parser()
        for start in range(0, len(data), step):
            for frame in parser.feed(data[start : start + step]):
                frame.text()
                if frame.kind is Kind.DONE:
                    frame.array()

    return taken(read, WireError)


def _make_remote(rng: random.Random) -> bytes:
    tree = {
        "model_name": "m",
        "id": "7",
        "outputs": [
            {"name": "other", "datatype": "FP32", "shape": [1], "data": [0.0]},
            {"name": "out", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 1.0, 2.0, 3.0]},
        ],
    }
    tail = b""
    if rng.random() < 0.5:
        tail = struct.pack("<4f", 0.0, 1.0, 2.0, 3.0)
        tree["outputs"] = [{"name": "out", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]
    head = json.dumps(mutated_tree(rng, tree)).encode()
    said = rng.choice((str(len(head)), str(len(head)), "", "0", "-1", "99999999", "x"))
    return f"{said}\n".encode() + (mutated(rng, head + tail) if rng.random() < 0.3 else head + tail)


def _remote(data: bytes) -> bool:
    model = RemoteModel("m", None, TensorForm("in", (1, 1, 4, 4)), TensorForm("out", (1, 4)))
    said, _, body = data.partition(b"\n")
    header = said.decode(errors="replace")

    def read() -> None:
        decode_response(body, header or None, model, "7")

    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError):
        metadata = None
    if isinstance(metadata, dict):
        check_tensors(model, metadata)
    return taken(read, ValueError)


def _make_answers(rng: random.Random) -> bytes:
    of_each = {"confidence": "[0.9]", "source": '["single"]', "degraded": "[false]", "milliseconds": "[1.5]"}
    answer = {
        "model_name": "m",
        "model_version": "1",
        "id": "",
        "parameters": of_each,
        "outputs": [{"name": "o", "datatype": "BYTES", "shape": [1, 2], "data": ["0.9:0:a", "0.1:1:b:c"]}],
    }
    metadata = {
        "name": "m",
        "versions": ["1"],
        "inputs": [{"name": "i", "datatype": "FP32", "shape": [-1, 1, 4, 4]}],
        "outputs": [{"name": "o", "datatype": "FP32", "shape": [-1, 4]}],
        "parameters": {"scores": "logits", "classes": '["a", "b"]'},
    }
    tree = rng.choice((answer, answer, metadata, [{"name": "m", "version": "1"}], {"error": "field: what"}))
    data = json.dumps(mutated_tree(rng, tree)).encode()
    return mutated(rng, data, (b'"[', b"null", b"[]")) if rng.random() < 0.3 else data


def _answers(data: bytes) -> bool:
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_answers(data, 1, 0.1),
        lambda: read_model(data),
        lambda: read_index(data),
    )
    found = [taken(reader, GatewayError) for reader in readers]
    str(refusal(400 + len(data) % 105, {"retry-after": data[:4].decode("latin-1")}, data))
    return any(found)


def _of_files(name: str, what: str, readers: dict[str, _files.Reader], needs: str | None = None) -> Target:
    """Files that a reader loads by their path. The input's first line says which reader."""

    def make(rng: random.Random) -> bytes:
        which = rng.choice(sorted(readers))
        return which.encode() + b"\n" + readers[which].make(rng)

    def run(data: bytes) -> bool:
        which, _, content = data.partition(b"\n")
        reader = readers.get(which.decode(errors="replace"))
        if reader is None:
            return False
        path = _files.scratch() / f"input{reader.suffix}"
        path.write_bytes(content)
        return taken(lambda: reader.load(path), CollageError)

    return Target(name, what, make, run, needs)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "image", "JPEG, PNG and WebP files, cut and changed; decoded and made into tensors", hostile_picture, _image
        ),
        Target("oip-json", "inference requests in JSON, and model indices", hostile_json, _json),
        Target("oip-binary", "inference requests with the binary tensor data extension", _make_binary, _binary),
        Target("oip-message", "inference requests as gRPC's messages", hostile_message, _message),
        Target("worker-frames", "what a worker process says to the gateway", _make_frames, _frames),
        Target("remote-answers", "what a remote server answers, and its metadata", _make_remote, _remote),
        Target("client-answers", "what `collage.client` is answered", _make_answers, _answers),
        _of_files("settings", "settings of `collage serve`, and fleets, in TOML", _files.SETTINGS),
        _of_files("experiments", "experiments of bench, overhead, simulate and chaos, in TOML", _files.EXPERIMENTS),
        _of_files(
            "trainings",
            "trainings, and what is said of a foreign single, in TOML and JSON",
            _files.TRAININGS,
            needs="torch",
        ),
        _of_files("cards", "model cards", _files.CARDS),
        _of_files("traces", "service times, timestamps, profiles and outcomes: CSV, JSON, NumPy", _files.TRACES),
    )
}
