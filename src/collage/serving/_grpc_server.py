"""The gateway's gRPC side, beside its HTTP one, on the same data plane."""

from __future__ import annotations

from typing import Any, Self

import grpc.aio

from collage.exceptions import SettingsError
from collage.serving._gateway import Gateway
from collage.serving._grpc_handlers import grpc_handler
from collage.serving.safety import Tls

_KEEP_ALIVE_SECONDS = 60  # a client that is silent for so long is asked whether it is there
_KEEP_ALIVE_TIMEOUT = 20


class GrpcServer:
    """Bound when it is made, so that a taken port is said at once; heard from `start` on."""

    def __init__(self, gateway: Gateway, host: str, port: int, tls: Tls | None = None) -> None:
        """Raises SettingsError where the address cannot be listened on."""
        settings = gateway.settings
        self._server: Any = grpc.aio.server(
            handlers=[grpc_handler(gateway)],
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # two gateways on one port would be a mistake
                ("grpc.keepalive_time_ms", _KEEP_ALIVE_SECONDS * 1000),
                ("grpc.keepalive_timeout_ms", _KEEP_ALIVE_TIMEOUT * 1000),
                ("grpc.max_connection_idle_ms", int(settings.keep_alive_seconds * 1000)),
            ],
            maximum_concurrent_rpcs=settings.max_connections,
        )
        address = f"[{host}]" if ":" in host else host
        try:
            self.port: int = (
                self._server.add_insecure_port(f"{address}:{port}")
                if tls is None
                else self._server.add_secure_port(f"{address}:{port}", tls.grpc_credentials())
            )
        except RuntimeError:
            raise SettingsError(f"grpc_port: {host}:{port} cannot be listened on") from None
        self.address = f"{address}:{self.port}"

    async def start(self) -> Self:
        """Answer calls."""
        await self._server.start()
        return self

    async def stop(self, seconds: float) -> None:
        """Take no more calls; those that run have so long to be written. Idempotent."""
        await self._server.stop(seconds)
