"""The ASGI application: every route of one gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._dashboard import dashboard_routes
from collage.serving._gateway import Gateway
from collage.serving._http_admin import admin_routes
from collage.serving._http_classify import classify_routes
from collage.serving._http_direct import DirectApp
from collage.serving._http_gate import Gate
from collage.serving._http_oip import oip_routes
from collage.serving._http_record import Record, Recorded
from collage.serving._http_repository import repository_routes
from collage.serving._http_statistics import statistics_routes
from collage.serving._http_workers import worker_routes
from collage.serving._metrics import Metrics
from collage.serving._models import Models
from collage.serving._openapi import openapi_routes
from collage.serving._settings import ServingSettings
from collage.serving.safety import Guard, charged, guarded
from collage.serving.traces import make_traces

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane


def make_gateway(plane: DataPlane, settings: ServingSettings, gate: Gate) -> Gateway:
    """What all transports share; plane: of the first model. Raises ModelError and SettingsError as `Models` does, and
    SettingsError where traces are wanted and their extra is not installed.
    """
    guard, traces = Guard(settings), make_traces(settings)
    models = Models(settings, plane)
    if traces is not None:
        watch = traces.watch
        models.watch(lambda served: watch(served.plane))
    return Gateway(models, settings, gate, guard, Metrics(models, gate, guard, traces), traces)


def create_app(gateway: Gateway) -> Starlette:
    """HTTP over a gateway, whose models may still be starting: it is not ready until they are."""
    settings, metrics = gateway.settings, gateway.metrics
    open_routes = [
        *classify_routes(gateway),
        *statistics_routes(gateway),
        *oip_routes(gateway),
        *repository_routes(gateway),
        *admin_routes(gateway),
        *worker_routes(gateway),
        metrics_route(metrics),
        *openapi_routes(settings),
        *dashboard_routes(gateway.models, settings),
    ]
    routes = guarded(open_routes, gateway)
    paths = {route.endpoint: route.path for route in reversed(routes)}  # the first of an endpoint's paths
    record = Record(metrics, paths, gateway.traces)
    return DirectApp(
        direct=[route for route in routes if charged(route.path)],
        record=record,
        routes=routes,
        middleware=[Middleware(Recorded, record=record)],
    )


def metrics_route(metrics: Metrics) -> Route:
    """GET /metrics, for Prometheus."""

    async def show(_request: Request) -> Response:
        return Response(metrics.render(), media_type=metrics.content_type)

    return Route("/metrics", show)
