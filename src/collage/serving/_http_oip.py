"""Open Inference Protocol v2 over HTTP: thin handlers around the codec.

GET  /v2                                  server metadata
GET  /v2/health/live, /v2/health/ready
GET  /v2/models/NAME[/versions/V]         model metadata
GET  /v2/models/NAME[/versions/V]/ready
POST /v2/models/NAME[/versions/V]/infer
POST /v2/repository/index                 the model repository extension, but for loading and unloading
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._gateway import Gateway
from collage.serving._http_body import read_body
from collage.serving._http_errors import json_response
from collage.serving._oip_model import NOT_READY, server_metadata
from collage.serving._oip_request import LENGTH_HEADER, parse_index, parse_infer
from collage.serving._oip_response import encode_response
from collage.serving.logs import note_id


def oip_routes(gateway: Gateway) -> list[Route]:
    """The protocol's routes."""
    handlers = _Handlers(gateway)
    routes = [
        Route("/v2", handlers.server),
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
    return routes


class _Handlers:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def server(self, _request: Request) -> Response:
        return json_response(server_metadata())

    async def live(self, _request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, _request: Request) -> Response:
        return _ready({}, self._gateway)

    async def index(self, request: Request) -> Response:
        gateway = self._gateway
        with gateway.gate.enter() as ticket:
            body = await read_body(request, ticket, gateway.settings)
        only_ready = parse_index(body)
        return json_response(gateway.model.index(ready=gateway.ready, only_ready=only_ready))

    async def metadata(self, request: Request) -> Response:
        self._check_model(request)
        return json_response(self._gateway.model.metadata())

    async def model_ready(self, request: Request) -> Response:
        self._check_model(request)
        return _ready({"name": self._gateway.model.name}, self._gateway)

    async def infer(self, request: Request) -> Response:
        self._check_model(request)
        gateway = self._gateway
        with gateway.gate.enter() as ticket:
            with gateway.rejects_counted():
                body = await read_body(request, ticket, gateway.settings)
                parsed = parse_infer(body, request.headers.get(LENGTH_HEADER), gateway.model, gateway.settings)
            note_id(parsed.id)
            answers = await gateway.classify(request, parsed.images, parsed.options)
        encoded = encode_response(parsed, answers, gateway.model)
        if encoded.json_size is None:
            return Response(encoded.body, media_type="application/json")
        headers = {LENGTH_HEADER: str(encoded.json_size)}
        return Response(encoded.body, headers=headers, media_type="application/octet-stream")

    def _check_model(self, request: Request) -> None:
        self._gateway.model.check(request.path_params["model"], request.path_params.get("version"))


def _ready(said: dict[str, object], gateway: Gateway) -> Response:
    if gateway.ready:
        return json_response(said | {"ready": True})
    return json_response(said | {"ready": False, "error": NOT_READY}, 503)
