"""One gateway process, from start-up to shutdown, top to bottom in `_run`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn

from collage.exceptions import SettingsError
from collage.serving._dataplane import DataPlane
from collage.serving._event_loop import loop_factory
from collage.serving._gateway import Gateway
from collage.serving._http_app import create_app, make_gateway
from collage.serving._http_gate import Gate
from collage.serving._http_protocol import guarded
from collage.serving._settings import ServingSettings
from collage.serving.safety import Tls

if TYPE_CHECKING:
    from collage.serving._grpc_server import GrpcServer

_BACKLOG = 2048
_CLOSE_SECONDS = 5  # for the last responses to be written, after every query has its outcome

logger = logging.getLogger("collage.serving")


def serve(
    settings: ServingSettings,
    on_ready: Callable[[str], None] | None = None,
    *,
    plane: DataPlane | None = None,
    on_grpc: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. A second signal does not wait for the drain.

    `plane`, of the first model, is started and stopped here, as are those of further ones; by default it is made of the
    settings. `on_ready` is called with the URL once
    queries are answered; before it `on_grpc` with gRPC's HOST:PORT, where that is served. Raises SettingsError where an
    address cannot be listened on, ModelError where a model does not fit or no worker could load it.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(settings, plane or DataPlane(settings), on_ready or _say_ready, on_grpc or _say_grpc))


async def _run(
    settings: ServingSettings, plane: DataPlane, on_ready: Callable[[str], None], on_grpc: Callable[[str], None]
) -> None:
    stop = _Stop()
    tls = Tls.of(settings)
    listening = bind(settings.host, settings.port)
    gate = Gate(settings.max_held_bytes)
    gateway = make_gateway(plane, settings, gate)
    server = Server(_config(gateway, tls))
    calls = _grpc(gateway, tls)
    with stop.on_signals(), listening:
        try:
            # Start-up: workers first, so that whoever can connect is answered.
            if not await stop.unless_first(gateway.models.start()):
                return
            if calls is not None:
                await calls.start()
                on_grpc(calls.address)
            # What start-up has made stays: the garbage collector need not look at it again while queries wait.
            gc.collect()
            gc.freeze()
            listening.listen(_BACKLOG)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            renewing = None if tls is None else asyncio.create_task(tls.look_after())
            on_ready(_url(settings.host, listening, tls))

            # The loop is uvicorn's.
            await stop.unless_first(asyncio.shield(serving))

            # Drain: not ready from now on, accepted queries finish.
            gate.close()
            logger.info("draining: %d requests have %g s to finish", gate.inside, settings.drain_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.drain_seconds):
                    await stop.unless_second(gate.empty())
        finally:
            # Shutdown: what is left is refused by the plane, the refusals are written, the connections close.
            gc.unfreeze()
            await gateway.models.stop()
            server.should_exit = True
            if calls is not None:
                await calls.stop(_CLOSE_SECONDS)
        if renewing is not None:
            renewing.cancel()
        await serving
        if gateway.traces is not None:
            gateway.traces.close()


class _Stop:
    """Signals, counted: the first asks to stop, the second not to wait any longer."""

    def __init__(self) -> None:
        self._first, self._second = asyncio.Event(), asyncio.Event()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._count)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _count(self) -> None:
        (self._second if self._first.is_set() else self._first).set()

    async def unless_first(self, work: Awaitable[object]) -> bool:
        """Until the work is done (True), or the first signal came and the work was cancelled (False)."""
        return await _race(work, self._first)

    async def unless_second(self, work: Awaitable[object]) -> bool:
        """The same for the second signal."""
        return await _race(work, self._second)


async def _race(work: Awaitable[object], event: asyncio.Event) -> bool:
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # its error, where it failed
            return True
        return False
    finally:
        waiting.cancel()
        if working.cancel():
            await asyncio.wait((working,))


class Server(uvicorn.Server):
    """uvicorn's, which leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are handled in `_run`; uvicorn would end the process by the signal, where a drained one exits with 0."""
        yield


def _grpc(gateway: Gateway, tls: Tls | None) -> GrpcServer | None:
    port = gateway.settings.grpc_port
    if port is None:
        return None
    from collage.serving._grpc_server import GrpcServer  # noqa: PLC0415 - 0.2 s, which those without it need not pay

    return GrpcServer(gateway, gateway.settings.host, port, tls)


def _config(gateway: Gateway, tls: Tls | None) -> uvicorn.Config:
    settings = gateway.settings
    return uvicorn.Config(
        create_app(gateway),
        http=guarded(settings),
        ws="none",
        ssl_context_factory=None if tls is None else lambda *_: tls.context,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type] # any number of seconds is good
        timeout_graceful_shutdown=_CLOSE_SECONDS,
    )


def bind(host: str, port: int) -> socket.socket:
    """Bound before anything is loaded, so that a taken port is said at once. Raises SettingsError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise SettingsError(f"host: {host!r} cannot be listened on ({error.strerror})") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(f"port: {host}:{port} cannot be listened on ({error.strerror})") from None
    listening.setblocking(False)
    return listening


def _url(host: str, listening: socket.socket, tls: Tls | None) -> str:
    port, scheme = listening.getsockname()[1], "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _say_ready(url: str) -> None:
    logger.info("serving at %s", url)


def _say_grpc(address: str) -> None:
    logger.info("gRPC at %s", address)
