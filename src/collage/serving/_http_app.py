"""The ASGI application: every route on top of one data plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collage.serving._dashboard import dashboard_routes
from collage.serving._gateway import Gateway
from collage.serving._http_admin import admin_routes
from collage.serving._http_classify import classify_routes
from collage.serving._http_errors import exception_handlers
from collage.serving._http_gate import Gate
from collage.serving._http_oip import oip_routes
from collage.serving._http_workers import worker_routes
from collage.serving._metrics import Metrics
from collage.serving._oip_model import OipModel
from collage.serving._openapi import openapi_routes
from collage.serving._settings import ServingSettings
from collage.serving.safety import Guard, guarded

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane


def make_gateway(plane: DataPlane, settings: ServingSettings, gate: Gate) -> Gateway:
    """What all transports share. Raises ModelError where the single has not one input and one output."""
    guard = Guard(settings)
    return Gateway(plane, OipModel.of(plane.single), settings, gate, guard, Metrics(plane, gate, guard))


def create_app(gateway: Gateway) -> Starlette:
    """HTTP over a gateway, whose plane may still be starting: it is not ready until the plane is."""
    plane, settings, metrics = gateway.plane, gateway.settings, gateway.metrics
    open_routes = [
        *classify_routes(gateway),
        *oip_routes(gateway),
        *admin_routes(gateway),
        *worker_routes(gateway),
        metrics_route(metrics),
        *openapi_routes(settings),
        *dashboard_routes(plane, settings),
    ]
    routes = guarded(open_routes, gateway)
    paths = {route.endpoint: route.path for route in reversed(routes)}  # the first of an endpoint's paths
    return Starlette(
        routes=routes,
        exception_handlers=exception_handlers(),
        middleware=[Middleware(_Counted, metrics=metrics, paths=paths)],
    )


def metrics_route(metrics: Metrics) -> Route:
    """GET /metrics, for Prometheus."""

    async def show(_request: Request) -> Response:
        return Response(metrics.render(), media_type=metrics.content_type)

    return Route("/metrics", show)


class _Counted:
    """Counts responses by route and status; a path that is no route of ours is "other", lest clients choose labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Mapping[Any, str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        def count(status: int) -> None:
            nonlocal started
            started = True
            self._metrics.responses.labels(self._paths.get(scope.get("endpoint"), "other"), str(status)).inc()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            if not started and scope["type"] == "http":
                count(500)  # which is answered further out
            raise
