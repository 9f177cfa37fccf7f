"""Open Inference Protocol v2 over HTTP: thin handlers around the codec.

GET  /v2                                  server metadata
GET  /v2/health/live, /v2/health/ready
GET  /v2/models/NAME[/versions/V]         model metadata
GET  /v2/models/NAME[/versions/V]/ready
POST /v2/models/NAME[/versions/V]/infer
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._gateway import Gateway
from collage.serving._http_body import header, read_body
from collage.serving._http_errors import json_response
from collage.serving._oip_model import NOT_READY, server_metadata
from collage.serving._oip_request import LENGTH_HEADER, parse_infer
from collage.serving._oip_response import EncodedResponse, encode_response
from collage.serving._served import Served
from collage.serving.logs import note_id

_LENGTH_NAME = LENGTH_HEADER.lower().encode()


def oip_routes(gateway: Gateway) -> list[Route]:
    """The protocol's routes."""
    handlers = _Handlers(gateway)
    routes = [
        Route("/v2", handlers.server),
        Route("/v2/health/live", handlers.live),
        Route("/v2/health/ready", handlers.ready),
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
        return ready_response({}, ready=self._gateway.ready)

    async def metadata(self, request: Request) -> Response:
        served = self._find(request)
        return json_response(served.oip.metadata(self._gateway.models.versions(served.name)))

    async def model_ready(self, request: Request) -> Response:
        served = self._find(request)
        ready = served.plane.ready and not self._gateway.gate.closed
        return ready_response({"name": served.name}, ready=ready)

    async def infer(self, request: Request) -> Response:
        gateway = self._gateway
        served = self._find(request)
        with gateway.gate.enter() as ticket:
            with gateway.rejects_counted(served=served):
                body = await read_body(request, ticket, gateway.settings)
            with gateway.models.use(*_named(request)) as served:  # which may be a newer one by now
                with gateway.rejects_counted(served=served):
                    parsed = parse_infer(body, header(request.scope, _LENGTH_NAME), served.oip, gateway.settings)
                note_id(parsed.id)
                answers = await gateway.classify(request, served, parsed.images, parsed.options)
        return infer_response(encode_response(parsed, answers, served.oip))

    def _find(self, request: Request) -> Served:
        return self._gateway.models.find(*_named(request))


def infer_response(encoded: EncodedResponse) -> Response:
    """JSON, or JSON and the tensors' bytes behind it."""
    if encoded.json_size is None:
        return Response(encoded.body, media_type="application/json")
    headers = {LENGTH_HEADER: str(encoded.json_size)}
    return Response(encoded.body, headers=headers, media_type="application/octet-stream")


def ready_response(said: dict[str, object], *, ready: bool, why: str = NOT_READY) -> Response:
    """200, or 503 and why."""
    if ready:
        return json_response(said | {"ready": True})
    return json_response(said | {"ready": False, "error": why}, 503)


def _named(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")
