"""A collage-cnn by itself, for edges: the Open Inference Protocol v2 over HTTP, a picture in, a row a tile out.

The input is one image file (BYTES, shape [1]) of exactly the canvas's size, as a thin link wants it; the output is the
model's own, FP32 (1, N, K). The metadata's parameter `card` is the model's card, so that an edge needs no file of it.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.dispatch import Role
from collage.exceptions import InvalidImage, InvalidInput, ModelError, UnknownModel
from collage.imaging import ImageLimits, decode_image, normalise
from collage.serving._http_body import read_body
from collage.serving._http_errors import exception_handlers, json_response
from collage.serving._http_gate import Gate
from collage.serving._oip_request import LENGTH_HEADER
from collage.serving._settings import ServingSettings
from collage.zoo import LoadedModel, open_session

FloatArray = NDArray[np.float32]

INPUT, OUTPUT = "canvas", "tiles"
_LENGTH = struct.Struct("<I")


class CanvasModel:
    """The model and its session. Raises ModelError for a model that is no collage-cnn."""

    def __init__(self, model: LoadedModel, threads: int = 1) -> None:
        card = model.card
        if card.role is not Role.COLLAGE or card.grid is None:
            raise ModelError(f"{card.name}: is a {card.role}, and no collage-cnn")
        self.card = card
        self.side = card.grid * card.preprocessing.size
        self._session = open_session(model.path, threads)
        self._input = self._session.get_inputs()[0].name
        self._one = asyncio.Lock()  # calls one after the other: two at once would share the threads

    def read(self, file: bytes, settings: ServingSettings) -> FloatArray:
        """A picture's file -> the model's input (1, C, H, W). Raises InvalidImage for another size."""
        preprocessing = self.card.preprocessing
        image = decode_image(
            file,
            ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels),
            field="inputs[0].data",
        )
        if image.size != (self.side, self.side):
            wanted = f"{self.side} x {self.side}"
            raise InvalidImage(f"{image.width} x {image.height} pixels; {wanted} is needed", field="inputs[0].data")
        image = image.convert("L" if preprocessing.channels == 1 else "RGB")
        pixels = np.asarray(image, np.uint8).reshape(self.side, self.side, preprocessing.channels)
        return normalise(pixels, preprocessing)[None]

    async def run(self, file: bytes, settings: ServingSettings) -> FloatArray:
        """A picture's file -> (1, N, K)."""
        async with self._one:
            return await asyncio.to_thread(self._run, file, settings)

    def _run(self, file: bytes, settings: ServingSettings) -> FloatArray:
        found = self._session.run(None, {self._input: self.read(file, settings)})[0]
        return np.asarray(found, np.float32)

    def metadata(self) -> dict[str, Any]:
        """The protocol's, with the card."""
        return {
            "name": self.card.name,
            "versions": [self.card.version],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [1, self.card.capacity, -1]}],
            "parameters": {"card": self.card.model_dump_json()},
        }


def create_canvas_app(model: CanvasModel, settings: ServingSettings) -> Starlette:
    """HTTP over the model. settings: limits on what a client may send."""
    gate = Gate(settings.max_held_bytes)

    def check(request: Request) -> None:
        if (name := request.path_params["model"]) != model.card.name:
            raise UnknownModel(f"{name!r} is not served here; {model.card.name!r} is", field="model")

    async def ready(_request: Request) -> Response:
        return json_response({"ready": True})

    async def index(_request: Request) -> Response:
        return json_response([{"name": model.card.name, "version": model.card.version, "state": "READY"}])

    async def metadata(request: Request) -> Response:
        check(request)
        return json_response(model.metadata())

    async def model_ready(request: Request) -> Response:
        check(request)
        return json_response({"name": model.card.name, "ready": True})

    async def infer(request: Request) -> Response:
        check(request)
        with gate.enter() as ticket:
            body = await read_body(request, ticket, settings)
            identity, file = read_canvas(body, request.headers.get(LENGTH_HEADER))
            output = await model.run(file, settings)
        head = orjson.dumps(
            {
                "model_name": model.card.name,
                "model_version": model.card.version,
                "id": identity,
                "outputs": [
                    {
                        "name": OUTPUT,
                        "datatype": "FP32",
                        "shape": list(output.shape),
                        "parameters": {"binary_data_size": output.nbytes},
                    }
                ],
            }
        )
        headers = {LENGTH_HEADER: str(len(head))}
        return Response(head + output.astype("<f4").tobytes(), headers=headers, media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/v2/health/live", ready),
            Route("/v2/health/ready", ready),
            Route("/v2/repository/index", index, methods=["POST"]),
            Route("/v2/models/{model}", metadata),
            Route("/v2/models/{model}/ready", model_ready),
            Route("/v2/models/{model}/infer", infer, methods=["POST"]),
        ],
        exception_handlers=exception_handlers(),
    )


def write_canvas(identity: str, file: bytes) -> tuple[bytes, int]:
    """A request for one canvas: its body, and the length of its JSON."""
    data = _LENGTH.pack(len(file)) + file
    tensor = {"name": INPUT, "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    head = orjson.dumps({"id": identity, "inputs": [tensor], "outputs": [{"name": OUTPUT}]})
    return head + data, len(head)


def read_canvas(body: bytes, header_length: str | None) -> tuple[str, bytes]:
    """A request's id and its picture's file. Raises InvalidInput that names the field."""
    if header_length is None or not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 10):
        raise InvalidInput("a length is needed: the canvas follows the JSON as bytes", field=LENGTH_HEADER)
    size = int(header_length)
    try:
        said = orjson.loads(memoryview(body)[:size])
        identity, (tensor,) = str(said.get("id", "")), said["inputs"]
        datatype, shape = tensor["datatype"], tensor["shape"]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidInput(f"one tensor, {INPUT!r}, is needed", field="inputs") from None
    if tensor.get("name") != INPUT or datatype != "BYTES" or shape not in ([1], [1, 1]):
        raise InvalidInput(f"{INPUT!r}, BYTES, of shape [1] is needed", field="inputs[0]")
    data = body[size:]
    if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] != len(data) - _LENGTH.size:
        raise InvalidInput("its length, 4 bytes little-endian, and then the file are needed", field="inputs[0].data")
    return identity, data[_LENGTH.size :]


def read_tiles(body: bytes, header_length: str | None) -> FloatArray:
    """An answer's output (1, N, K). Raises ValueError for what is none."""
    size = int(header_length or "")
    (output,) = orjson.loads(memoryview(body)[:size])["outputs"]
    return np.frombuffer(body, "<f4", offset=size).reshape(output["shape"]).astype(np.float32)
