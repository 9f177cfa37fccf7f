"""The model repository extension over HTTP.

POST /v2/repository/index                 which models and versions there are
POST /v2/repository/models/NAME/load      another version, in the place of the current one or beside it
POST /v2/repository/models/NAME/unload

The last two are for admins; without keys, for callers on the gateway's own machine.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._gateway import Gateway
from collage.serving._http_body import read_body
from collage.serving._http_errors import json_response
from collage.serving._oip_repository import check_name, parse_index, parse_load, parse_unload


def repository_routes(gateway: Gateway) -> list[Route]:
    """The extension's routes."""
    models = gateway.models

    async def body_of(request: Request) -> bytes:
        with gateway.gate.enter() as ticket:
            return await read_body(request, ticket, gateway.settings)

    async def index(request: Request) -> Response:
        only_ready = parse_index(await body_of(request))
        return json_response(models.index(closed=gateway.gate.closed, only_ready=only_ready))

    async def load(request: Request) -> Response:
        name = check_name(request.path_params["model"])
        order = parse_load(await body_of(request))
        served = await models.load(name, order.table, keep=order.keep)
        return json_response({"name": served.name, "version": served.version})

    async def unload(request: Request) -> Response:
        name = request.path_params["model"]
        await models.unload(name, parse_unload(await body_of(request)))
        return json_response({"name": name})

    return [
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", unload, methods=["POST"]),
    ]
