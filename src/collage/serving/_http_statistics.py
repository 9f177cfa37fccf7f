"""The statistics extension over HTTP: GET /v2/models[/NAME[/versions/V]]/stats."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._gateway import Gateway
from collage.serving._http_errors import json_response
from collage.serving._models import Models


def statistics_routes(gateway: Gateway) -> list[Route]:
    """The extension's routes."""

    async def show(request: Request) -> Response:
        named = request.path_params.get("model"), request.path_params.get("version")
        return json_response({"model_stats": shown_statistics(gateway.models, *named)})

    return [
        Route("/v2/models/stats", show),
        Route("/v2/models/{model}/stats", show),
        Route("/v2/models/{model}/versions/{version}/stats", show),
    ]


def shown_statistics(models: Models, name: str | None, version: str | None) -> list[dict[str, Any]]:
    """Of one version, of all versions of a name, or of all that is served. Raises UnknownModel."""
    if name is None:
        found = models.served
    elif version is None:
        models.find(name)
        found = [served for served in models.served if served.name == name]
    else:
        found = [models.find(name, version)]
    return [served.statistics.shown(served.name, served.version, served.plane.executed) for served in found]
