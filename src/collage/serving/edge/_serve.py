"""One process: a relay, or a collage-cnn's server, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from collage.serving._http_protocol import guarded
from collage.serving._server import Server, bind
from collage.serving._settings import ServingSettings, load_settings
from collage.serving.edge._app import create_edge_app
from collage.serving.edge._canvas_server import CanvasModel, create_canvas_app
from collage.serving.edge._relay import Relay
from collage.serving.edge._settings import EdgeSettings
from collage.zoo import LoadedModel

_DRAIN_SECONDS = 10


def serve_edge(settings: EdgeSettings, on_ready: Callable[[str], None], *, open_: bool = False) -> None:
    """Serve a relay until stopped; requests that are in get ten seconds to end. on_ready is called with the URL.

    Raises SettingsError for settings that make no sense, and where the address cannot be listened on.
    """
    limits = load_settings(host=settings.host, port=settings.port, open=open_ or None)
    asyncio.run(_serve(create_edge_app(Relay(settings, limits), limits), limits, on_ready))


def serve_canvas(
    model: LoadedModel, host: str, port: int, on_ready: Callable[[str], None], *, threads: int = 1, open_: bool = False
) -> None:
    """Serve a collage-cnn until stopped. Raises as `serve_edge`, and ModelError for a model that is no collage-cnn."""
    limits = load_settings(host=host, port=port, open=open_ or None)
    asyncio.run(_serve(create_canvas_app(CanvasModel(model, threads), limits), limits, on_ready))


async def _serve(app: Starlette, limits: ServingSettings, on_ready: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        http=guarded(limits),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    with bind(limits.host, limits.port) as listening:
        listening.listen(limits.max_connections)  # before anybody is told
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        on_ready(f"http://{limits.host}:{listening.getsockname()[1]}")
        await serving
