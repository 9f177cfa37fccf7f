"""A small real server of the Open Inference Protocol, over HTTP, in the test's own process. It can be told to lie."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import numpy as np
from aiohttp import web

from collage.dispatch import Role
from collage.engines import OipOptions, OipServer, RemoteModel, TensorForm

LENGTH = "Inference-Header-Content-Length"
Answer = Callable[[web.Request, dict[str, Any], "np.ndarray[Any, Any]"], Awaitable[web.StreamResponse]]

MEANS = RemoteModel("means", None, TensorForm("images", (-1, 3, -1, -1)), TensorForm("y", (-1, 3)))
DOUBLED = RemoteModel("doubled", "2", TensorForm("images", (1, 1, 4, 4)), TensorForm("y", (1, 1, 4, 4)))
BOTH = {Role.SINGLE: MEANS, Role.COLLAGE: DOUBLED}


class Remote:
    """`means` gives each channel's mean, `doubled` twice the input. `answer`: what to do instead, if anything."""

    def __init__(self, *, port: int = 0, binary: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.binary = binary
        self.not_ready: set[str] = set()
        self.answer: Answer | None = None
        self.requests: list[tuple[dict[str, Any], np.ndarray[Any, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.outputs: list[dict[str, Any]] | None = None  # of the metadata
        self.metadata: dict[str, Any] | None = None  # all of it
        self.asked = asyncio.Event()
        self._tls = tls

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def server(self, models: dict[Role, RemoteModel] | None = None, **options: Any) -> OipServer:
        options = {"probe_interval": 0.02} | options
        return OipServer(self.url, models or {Role.SINGLE: MEANS}, OipOptions(**options))

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_get("/v2", self._server)
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            app.router.add_get(f"{model}/ready", self._ready)
            app.router.add_get(model, self._metadata)
            app.router.add_post(f"{model}/infer", self._infer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _server(self, _request: web.Request) -> web.Response:
        return web.json_response({"name": "remote", "extensions": ["binary_tensor_data"] if self.binary else []})

    async def _ready(self, request: web.Request) -> web.Response:
        ready = request.match_info.get("model", "server") not in self.not_ready
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _metadata(self, request: web.Request) -> web.Response:
        if self.metadata is not None:
            return web.json_response(self.metadata)
        means = request.match_info["model"] == "means"
        shape, out = ([-1, 3, -1, -1], [-1, 3]) if means else ([1, 1, 4, 4], [1, 1, 4, 4])
        outputs = self.outputs or [{"name": "y", "datatype": "FP32", "shape": out}]
        return web.json_response(
            {"inputs": [{"name": "images", "datatype": "FP32", "shape": shape}], "outputs": outputs}
        )

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        size = int(request.headers.get(LENGTH, len(body)))
        sent = json.loads(body[:size])
        (tensor,) = sent["inputs"]
        data = np.frombuffer(body[size:], "<f4") if size < len(body) else np.array(tensor["data"], np.float32)
        inputs = data.reshape(tensor["shape"])
        self.requests.append((sent, inputs))
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        self.asked.set()
        return await (self.answer or answer)(request, sent, inputs)


def binary_answer(
    model: str, request: str, name: str, output: np.ndarray[Any, Any], shape: tuple[int, ...] | None = None
) -> web.Response:
    """An output as binary tensor data; shape: what is said of it, where that is not its own."""
    data = output.astype("<f4").tobytes()
    said = {"name": name, "datatype": "FP32", "shape": shape or output.shape}
    tensor = said | {"parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"model_name": model, "id": request, "outputs": [tensor]}).encode()
    return web.Response(body=head + data, headers={LENGTH: str(len(head))})


async def answer(request: web.Request, sent: dict[str, Any], inputs: np.ndarray[Any, Any]) -> web.Response:
    """The right answer."""
    model = request.match_info["model"]
    output = inputs.mean(axis=(2, 3)) if model == "means" else inputs * 2
    tensor: dict[str, Any] = {"name": "y", "datatype": "FP32", "shape": list(output.shape)}
    said: dict[str, Any] = {"model_name": model, "id": sent["id"], "outputs": [tensor]}
    if LENGTH in request.headers:
        return binary_answer(model, sent["id"], "y", output)
    tensor["data"] = output.ravel().tolist()
    return web.json_response(said)


def said(**changes: Any) -> Callable[..., Coroutine[Any, Any, web.StreamResponse]]:
    """The right answer, but for these."""

    async def lie(_request: web.Request, sent: dict[str, Any], _inputs: Any) -> web.StreamResponse:
        tensor: dict[str, Any] = {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 0.2, 0.3]}
        whole: dict[str, Any] = {"model_name": "means", "id": sent["id"], "outputs": [tensor]}
        for name, value in changes.items():
            (whole if name in ("model_name", "id", "outputs") else tensor)[name] = value
        return web.json_response(whole)

    return lie
