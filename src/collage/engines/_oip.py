"""The `oip` engine: workers are servers of the Open Inference Protocol (v2) elsewhere, which others start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import CancelEffect, EngineListener, Submission
from collage.engines._oip_options import OipOptions
from collage.engines._oip_server import RemoteServer
from collage.engines._oip_transport import Transport
from collage.engines._oip_wire import RemoteModel
from collage.exceptions import SettingsError

_SCHEMES = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True)
class OipServer:
    """A server by its URL, the models to ask it for, and how to talk to it."""

    url: str
    models: Mapping[Role, RemoteModel]
    options: OipOptions = field(default_factory=OipOptions)

    @property
    def workers(self) -> dict[WorkerId, int]:
        """Its workers, with their slots: one by the URL's host and port; of a balanced URL, one for each slot."""
        name = self.url.partition("://")[2].rstrip("/")
        if self.options.balanced:
            return {f"{name}#{number}": 1 for number in range(self.options.slots)}
        return {name: self.options.slots}


class OipEngine:
    """Workers on remote servers, over HTTP or gRPC.

    A server joins when it says that it and our models are ready, for the roles whose models are, and is down as soon as
    it says otherwise, refuses connections, or leaves several looks at it unanswered. A call without an answer in time,
    or with one that is not what its model gives (another form, id or model, too long, no HTTP), fails its job. Whether
    the values make sense is for the code that decodes them.

    A running HTTP call cannot be stopped at the server, and a gRPC one only where the server minds it: by default
    cancelling does `nothing`, and the slot is taken until the answer comes. With the option cancel = "close" the call
    is closed and the slot counted as free: only where that is so for all servers is `cancel_effect` `cooperative`.

    Raises SettingsError for URLs and files that make no sense.
    """

    def __init__(self, servers: Sequence[OipServer]) -> None:
        self._servers: list[RemoteServer] = []
        self._by_worker: dict[WorkerId, RemoteServer] = {}
        for server in servers:
            connect = partial(_transport, server)
            connect()  # whatever is wrong with the settings is said now
            remote = RemoteServer(server.workers, server.models, server.options, connect)
            for worker in server.workers:
                if worker in self._by_worker:
                    raise SettingsError(f"urls: {server.url} is there twice")
                self._by_worker[worker] = remote
            self._servers.append(remote)
        closes = all(server.options.cancel == "close" for server in servers)
        self.cancel_effect = CancelEffect.COOPERATIVE if closes else CancelEffect.NOTHING
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> dict[WorkerId, int | None]:
        """All workers. None has a process here."""
        return dict.fromkeys(self._by_worker)

    async def start(self, listener: EngineListener) -> None:
        """Begin to watch the servers; returns when each was looked at once. None need be ready: they may come later."""
        self._watchers = [asyncio.create_task(server.watch(listener)) for server in self._servers]
        try:
            for server in self._servers:
                await server.tried.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise

    def submit(self, job: Submission) -> None:
        """See Engine.

        Its capacity is not looked at, as a remote worker has one model a role. Its headers are sent along; of jobs that
        share a call, those of the first that has any.

        Raises ValueError for an unknown worker or role, or inputs that are no float32 (n, C, H, W).
        """
        if job.worker not in self._by_worker:
            raise ValueError(f"no worker {job.worker}")
        self._by_worker[job.worker].submit(job)

    def cancel(self, job: JobId) -> None:
        """Nothing, or what the server's options say; a job of another engine is not minded."""
        for server in self._servers:
            server.cancel(job)

    async def stop(self) -> None:
        """Close all connections. Idempotent. The servers themselves are not ours to stop."""
        watchers, self._watchers = self._watchers, []
        for task in watchers:
            task.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


def _transport(server: OipServer) -> Transport:
    """Raises SettingsError."""
    try:
        parts = urlsplit(server.url)
        good = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise SettingsError(f"urls: {server.url!r} is none; {', '.join(_SCHEMES)}://HOST:PORT is needed")
    # Worker processes import this room too, and need none of these libraries: a quarter of a second, and memory.
    if parts.scheme.startswith("grpc"):
        from collage.engines._oip_grpc import GrpcTransport  # noqa: PLC0415

        return GrpcTransport(server.url, server.options)
    from collage.engines._oip_http import HttpTransport  # noqa: PLC0415

    return HttpTransport(server.url, server.options)
