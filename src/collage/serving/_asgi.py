"""One gateway as an ASGI application, which another server starts and stops by ASGI's lifespan."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Receive, Scope, Send

from collage.exceptions import CollageError
from collage.serving._dataplane import DataPlane
from collage.serving._http_app import create_app, make_gateway
from collage.serving._http_gate import Gate
from collage.serving._settings import ServingSettings


class GatewayApp:
    """Models are loaded at once; workers start with the lifespan, and stop with it once accepted queries are done.

    Where it listens and TLS are the server's own matter. So are slow clients: uvicorn itself, for one, sets them
    no limit, as `collage serve` does. Raises ModelError and SettingsError.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.plane = DataPlane(settings)
        self._drain_seconds = settings.drain_seconds
        self._gate = Gate(settings.max_held_bytes)
        gateway = make_gateway(self.plane, settings, self._gate)
        self._models = gateway.models
        self._traces = gateway.traces
        self._app: ASGIApp = create_app(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the whole life."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()  # lifespan.startup
        try:
            await self._models.start()
        except CollageError as error:
            await self._models.stop()  # others may be up
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        self._gate.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._gate.empty()
        await self._models.stop()
        if self._traces is not None:
            self._traces.close()
        await send({"type": "lifespan.shutdown.complete"})
