"""What a remote server's transport does, HTTP or gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from collage.engines._base import FloatArray
from collage.engines._oip_wire import RemoteModel


class RemoteFault(Exception):
    """A call gave nothing usable; the message says why.

    silent: no answer in time; gone: nobody is there (refused, reset).
    """

    def __init__(self, message: str, *, silent: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.silent = silent
        self.gone = gone


class Transport(Protocol):
    """One server. Everything raises RemoteFault and nothing else; to cancel a call closes it."""

    async def why_not_ready(self, model: RemoteModel) -> str | None:
        """Asks server and model; None: ready."""

    async def why_unfit(self, model: RemoteModel) -> str | None:
        """What in the model's metadata says that it is another one than we mean; None: nothing does."""

    async def infer(
        self, model: RemoteModel, request_id: str, inputs: FloatArray, headers: Mapping[str, str] | None = None
    ) -> FloatArray:
        """Inputs (B, ...) -> the output (B, ...), its form checked. headers: of this call, beside those of all."""

    async def close(self) -> None:
        """Close all connections. Idempotent."""
