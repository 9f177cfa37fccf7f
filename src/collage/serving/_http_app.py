"""The ASGI application: every route on top of one data plane."""

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
from collage.serving._http_workers import worker_routes
from collage.serving._metrics import Metrics
from collage.serving._oip_model import OipModel
from collage.serving._openapi import openapi_routes
from collage.serving._settings import ServingSettings
from collage.serving.safety import Guard, charged, guarded
from collage.serving.traces import make_traces

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane


def make_gateway(plane: DataPlane, settings: ServingSettings, gate: Gate) -> Gateway:
    """What all transports share. Raises ModelError where the single has not one input and one output, and SettingsError
    where traces are wanted and their extra is not installed.
    """
    guard, traces = Guard(settings), make_traces(settings)
    if traces is not None:
        traces.watch(plane)
    return Gateway(plane, OipModel.of(plane.single), settings, gate, guard, Metrics(plane, gate, guard, traces), traces)


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
