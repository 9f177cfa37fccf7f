"""A server of the Open Inference Protocol with the identity models, in a process of its own, that can be told to lie.

    python -P _remote_process.py PORT SECONDS CARD.json...

PORT 0 is any that is free; its number is the first line of output.

POST /lie/KIND makes every answer of the models one of the kinds below; POST /lie/none makes it honest again.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from aiohttp import web

from collage.zoo import load_model

LIES = ("garbage", "nan", "shape", "other-id", "twice", "drip")
_LENGTH = "Inference-Header-Content-Length"


class Server:
    """One server. seconds: what a call takes, its model included."""

    def __init__(self, cards: list[Path], seconds: float) -> None:
        self._sessions = {}
        for card in cards:
            model = load_model(card)
            options = ort.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._sessions[model.card.name] = ort.InferenceSession(str(model.path), options)
        self._seconds = seconds
        self._lie = "none"
        self._earlier_id = "no-job"

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v2", self._server)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_get("/v2/models/{model}/ready", self._ready)
        app.router.add_get("/v2/models/{model}", self._metadata)
        app.router.add_post("/v2/models/{model}/infer", self._infer)
        app.router.add_post("/lie/{kind}", self._set_lie)
        return app

    async def _server(self, _request: web.Request) -> web.Response:
        return web.json_response({"name": "identity", "extensions": ["binary_tensor_data"]})

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def _metadata(self, request: web.Request) -> web.Response:
        session = self._sessions[request.match_info["model"]]
        tensors = {
            kind: [
                {"name": each.name, "datatype": "FP32", "shape": [s if isinstance(s, int) else -1 for s in each.shape]}
                for each in found
            ]
            for kind, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
        }
        return web.json_response({"name": request.match_info["model"], **tensors})

    async def _set_lie(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in ("none", *LIES):
            raise web.HTTPNotFound
        self._lie = kind
        return web.json_response({"lie": kind})

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        until = asyncio.get_running_loop().time() + self._seconds
        body = await request.read()
        size = int(request.headers[_LENGTH])
        asked = json.loads(body[:size])
        (tensor,) = asked["inputs"]
        inputs = np.frombuffer(body[size:], "<f4").reshape(tensor["shape"])
        session = self._sessions[request.match_info["model"]]
        output = session.run(None, {session.get_inputs()[0].name: inputs})[0]
        await asyncio.sleep(until - asyncio.get_running_loop().time())
        lie, own_id = self._lie, asked["id"]
        if lie == "nan":
            output = np.full_like(output, np.nan)
        elif lie == "shape":
            output = output[..., :-1]
        said_id = self._earlier_id if lie == "other-id" else own_id
        self._earlier_id = own_id
        head, tail = _answer(said_id, session.get_outputs()[0].name, output)
        if lie == "garbage":
            head, tail = b"{" * len(head), tail[::-1]
        headers = {_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        if lie == "drip":
            return await _drip(request, head + tail, headers)
        if lie == "twice":
            return await _twice(request, head + tail, headers)
        return web.Response(body=head + tail, headers=headers)


def _answer(request_id: str, name: str, output: np.ndarray[Any, Any]) -> tuple[bytes, bytes]:
    tail = np.ascontiguousarray(output, "<f4").tobytes()
    tensor = {
        "name": name,
        "datatype": "FP32",
        "shape": list(output.shape),
        "parameters": {"binary_data_size": len(tail)},
    }
    return json.dumps({"id": request_id, "outputs": [tensor]}).encode(), tail


async def _drip(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """One byte a second."""
    response = web.StreamResponse(headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    for byte in body:
        await response.write(bytes([byte]))
        await asyncio.sleep(1.0)
    return response


async def _twice(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """The whole answer, and then all of it again, which the next request on this connection must not be given."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *(f"{name}: {headers[name]}" for name in headers)]
    again = "\r\n".join([*lines, "", ""]).encode() + body
    response = web.StreamResponse(headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    transport = request.transport
    if transport is not None:
        transport.write(body + again)
    return response


def main(port: int, seconds: float, cards: list[Path]) -> None:
    """Serve until SIGTERM."""
    app = Server(cards, seconds).app()
    with socket.create_server(("127.0.0.1", port)) as listening:
        print(listening.getsockname()[1], flush=True)  # noqa: T201 - of port 0 only this process knows which it is
        web.run_app(app, sock=listening, access_log=None, shutdown_timeout=0.1, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), [Path(arg) for arg in sys.argv[3:]])
