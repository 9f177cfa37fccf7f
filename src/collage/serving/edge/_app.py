"""The relay over HTTP: a camera asks it as it would a gateway, by the Open Inference Protocol v2 or /v1/classify."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.exceptions import Unavailable, UnknownModel
from collage.serving._http_body import read_body
from collage.serving._http_classify import describe, parse_query
from collage.serving._http_errors import exception_handlers, json_response
from collage.serving._http_gate import Gate
from collage.serving._http_oip import infer_response, ready_response
from collage.serving._inputs import Encoded
from collage.serving._oip_model import OipModel
from collage.serving._oip_request import LENGTH_HEADER, parse_infer
from collage.serving._oip_response import encode_response
from collage.serving._settings import ServingSettings
from collage.serving.edge._relay import Relay

_NOBODY = "nothing answers at the uplink's end"


def create_edge_app(relay: Relay, limits: ServingSettings) -> Starlette:
    """HTTP over a relay, which is started and stopped with the application."""
    handlers = _Handlers(relay, limits)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await relay.start()
        try:
            yield
        finally:
            await relay.stop()

    routes = [
        Route("/v1/classify", handlers.classify, methods=["POST"]),
        Route("/v1/edge", handlers.counts),
        Route("/v2/health/live", handlers.live),
        Route("/v2/health/ready", handlers.ready),
        Route("/v2/repository/index", handlers.index, methods=["POST"]),
    ]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(f"{model}/infer", handlers.infer, methods=["POST"]),
            Route(f"{model}/ready", handlers.model_ready),
            Route(model, handlers.metadata),
        ]
    return Starlette(routes=routes, exception_handlers=exception_handlers(), lifespan=lifespan)


class _Handlers:
    def __init__(self, relay: Relay, limits: ServingSettings) -> None:
        self._relay, self._limits = relay, limits
        self._gate = Gate(limits.max_held_bytes)

    async def classify(self, request: Request) -> Response:
        began = perf_counter()
        options, top = parse_query(request.query_params, self._limits)
        model = self._model()
        with self._gate.enter() as ticket:
            body = await read_body(request, ticket, self._limits)
            (answer,) = await self._relay.classify(
                [Encoded(body)], deadline=options.deadline, accept_degraded=options.accept_degraded
            )
        return json_response(describe(answer, model, top, seconds=perf_counter() - began))

    async def infer(self, request: Request) -> Response:
        model = self._check(request)
        with self._gate.enter() as ticket:
            body = await read_body(request, ticket, self._limits)
            parsed = parse_infer(body, request.headers.get(LENGTH_HEADER), model, self._limits)
            answers = await self._relay.classify(
                parsed.images, deadline=parsed.options.deadline, accept_degraded=parsed.options.accept_degraded
            )
        return infer_response(encode_response(parsed, answers, model))

    async def counts(self, _request: Request) -> Response:
        return json_response(self._relay.counts())

    async def live(self, _request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, _request: Request) -> Response:
        return ready_response({}, ready=self._relay.ready, why=_NOBODY)

    async def model_ready(self, request: Request) -> Response:
        return ready_response({"name": self._check(request).name}, ready=self._relay.ready, why=_NOBODY)

    async def index(self, _request: Request) -> Response:
        model = self._model()
        state = "READY" if self._relay.ready else "UNAVAILABLE"
        return json_response([{"name": model.name, "version": model.version, "state": state, "reason": ""}])

    async def metadata(self, request: Request) -> Response:
        model = self._check(request)
        said: dict[str, Any] = {
            "name": model.name,
            "versions": [model.version],
            "platform": "collage_edge",
            "inputs": [{"name": model.input_name, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": model.output_name, "datatype": "FP32", "shape": [-1, len(model.classes)]}],
            "parameters": {
                "input_datatypes": "BYTES, UINT8",
                "scores": model.scores,
                "classes": orjson.dumps(model.classes).decode(),
            },
        }
        # A camera's client reads a tensor's shape of it: that of the single's input.
        said["inputs"][0] |= {"shape": [-1, *model.input_shape]}
        return json_response(said)

    def _model(self) -> OipModel:
        """The single upstream, as cameras see it. Raises Unavailable before it is known."""
        known = self._relay.known
        if known is None:
            raise Unavailable(f"the models upstream are not known yet: {_NOBODY}")
        model = known.model
        return OipModel(
            name=model.name,
            version=model.versions[0],
            classes=model.classes,
            scores="logits" if model.scores == "logits" else "probabilities",
            input_name=model.input_name,
            input_shape=model.input_shape,
            output_name=model.output_name,
        )

    def _check(self, request: Request) -> OipModel:
        model, name = self._model(), request.path_params["model"]
        version = request.path_params.get("version")
        if name != model.name:
            raise UnknownModel(f"{name!r} is not served here; {model.name!r} is", field="model")
        if version is not None and version != model.version:
            raise UnknownModel(f"{version!r} of {name!r} is not served here; {model.version!r} is", field="version")
        return model
