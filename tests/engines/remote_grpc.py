"""A small real gRPC server of the Open Inference Protocol in the test's own process. It can be told to lie."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np

from collage.dispatch import Role
from collage.engines import OipOptions, OipServer, RemoteModel
from collage.oip import METHODS, SERVICE

from .remote import MEANS

Answer = Callable[[Any, Any, "np.ndarray[Any, Any]"], Awaitable[Any]]


class GrpcRemote:
    """`means` gives each channel's mean, `doubled` twice the input. `answer`: what to do instead, if anything."""

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.ready = True
        self.answer: Answer | None = None
        self.requests: list[Any] = []
        self.peers: set[str] = set()
        self.metadata: list[dict[str, str]] = []
        self.asked = asyncio.Event()

    def server(self, models: dict[Role, RemoteModel] | None = None, **options: Any) -> OipServer:
        options = {"probe_interval": 0.02} | options
        return OipServer(f"grpc://127.0.0.1:{self.port}", models or {Role.SINGLE: MEANS}, OipOptions(**options))

    async def __aenter__(self) -> Self:
        self._server: Any = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, f"_{name}"),
                request_deserializer=METHODS[name].request.FromString,
                # A lie may be bytes that are no message.
                response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
            )
            for name in ("ServerReady", "ModelReady", "ModelMetadata", "ModelInfer")
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return METHODS["ServerReady"].response(ready=True)

    async def _ModelReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return METHODS["ModelReady"].response(ready=self.ready)

    async def _ModelMetadata(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no metadata here")

    async def _ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        self.peers.add(context.peer())
        self.metadata.append(dict(context.invocation_metadata()))
        self.asked.set()
        (tensor,) = request.inputs
        inputs = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(tuple(tensor.shape))
        return await (self.answer or answer)(request, context, inputs)


async def answer(request: Any, _context: Any, inputs: np.ndarray[Any, Any]) -> Any:
    """The right answer."""
    output = inputs.mean(axis=(2, 3)) if request.model_name == "means" else inputs * 2
    response = METHODS["ModelInfer"].response(model_name=request.model_name, id=request.id)
    response.outputs.add(name="y", datatype="FP32", shape=output.shape)
    response.raw_output_contents.append(output.astype("<f4").tobytes())
    return response
