"""Open Inference Protocol v2 over gRPC: thin handlers around the codec, errors -> status codes.

All of the protocol, and of the model repository and statistics extensions. The deadline of a call (grpc-timeout) is its
queries' deadline, and a call that its client cancels cancels them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from collage.exceptions import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnknownModel,
)
from collage.oip import METHODS, SERVICE, read_parameters
from collage.serving._gateway import Gateway
from collage.serving._grpc_codec import (
    encode_infer_message,
    model_message,
    parse_infer_message,
    server_message,
    statistics_message,
)
from collage.serving._http_statistics import shown_statistics
from collage.serving._oip_repository import check_name, read_load, read_unload
from collage.serving.logs import ID_HEADER, RequestNotes, current_request, note_id, request_over
from collage.serving.safety import admitted

_log = logging.getLogger(__name__)
_Status = grpc.StatusCode

# The first that fits.
_STATUS: tuple[tuple[type[BaseException], grpc.StatusCode], ...] = (
    (UnknownModel, _Status.NOT_FOUND),
    (InvalidInput, _Status.INVALID_ARGUMENT),  # too large, too: to send it again would not help
    (Unauthenticated, _Status.UNAUTHENTICATED),
    (Forbidden, _Status.PERMISSION_DENIED),
    (DeadlineExceeded, _Status.DEADLINE_EXCEEDED),
    (RateLimited, _Status.RESOURCE_EXHAUSTED),
    (Unavailable, _Status.UNAVAILABLE),
    (MemoryError, _Status.RESOURCE_EXHAUSTED),
)
_PUSHBACK = "grpc-retry-pushback-ms"  # gRPC's own Retry-After
_SHORTEST = 1e-6  # seconds: of a call that is late already
_ON_THE_WAY = 0.02  # of a call's time, kept for the answer's way back

Handler = Callable[[Any, Any], Awaitable[Any]]


def grpc_handler(gateway: Gateway) -> Any:
    """The service, for a server to add."""
    handlers = _Handlers(gateway)
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(name, _read(method.request, getattr(handlers, name)), gateway),
            response_serializer=method.response.SerializeToString,
        )
        for name, method in METHODS.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


class _Handlers:
    """Named as the protocol's methods are."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ServerLive(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return METHODS["ServerLive"].response(live=True)

    async def ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return METHODS["ServerReady"].response(ready=self._gateway.ready)

    async def ModelReady(self, request: Any, _context: Any) -> Any:  # noqa: N802
        served = self._gateway.models.find(request.name, request.version or None)
        return METHODS["ModelReady"].response(ready=served.plane.ready and not self._gateway.gate.closed)

    async def ServerMetadata(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return server_message()

    async def ModelMetadata(self, request: Any, _context: Any) -> Any:  # noqa: N802
        models = self._gateway.models
        served = models.find(request.name, request.version or None)
        return model_message(served.oip, models.versions(served.name))

    async def RepositoryIndex(self, request: Any, _context: Any) -> Any:  # noqa: N802
        gateway = self._gateway
        models = gateway.models.index(closed=gateway.gate.closed, only_ready=request.ready)
        return METHODS["RepositoryIndex"].response(models=models)

    async def RepositoryModelLoad(self, request: Any, _context: Any) -> Any:  # noqa: N802
        order = read_load(read_parameters(request.parameters))
        await self._gateway.models.load(check_name(request.model_name), order.table, keep=order.keep)
        return METHODS["RepositoryModelLoad"].response()

    async def RepositoryModelUnload(self, request: Any, _context: Any) -> Any:  # noqa: N802
        await self._gateway.models.unload(request.model_name, read_unload(read_parameters(request.parameters)))
        return METHODS["RepositoryModelUnload"].response()

    async def ModelStatistics(self, request: Any, _context: Any) -> Any:  # noqa: N802
        found = shown_statistics(self._gateway.models, request.name or None, request.version or None)
        return statistics_message(found)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        gateway = self._gateway
        named = request.model_name, request.model_version or None
        with gateway.models.use(*named) as served, gateway.gate.enter() as ticket:
            with gateway.rejects_counted(served=served):
                ticket.hold(request.ByteSize())
                parsed = parse_infer_message(request, served.oip, gateway.settings)
            raw = bool(request.raw_input_contents)
            deadline = _deadline(
                request, parsed.options.deadline, context.time_remaining(), gateway.settings.max_deadline
            )
            note_id(parsed.id)
            answers = await gateway.answer(served, parsed.images, parsed.options._replace(deadline=deadline))
        return encode_infer_message(parsed, answers, served.oip, raw=raw)


def _read(kind: Any, handler: Handler) -> Handler:
    """Messages are read here: gRPC itself would log each broken one with a traceback, and call it its own fault."""

    async def read(body: bytes, context: Any) -> Any:
        try:
            request = kind.FromString(body)
        except DecodeError as error:
            raise InvalidInput(f"no {kind.DESCRIPTOR.name} ({error})", field="message") from None
        return await handler(request, context)

    return read


def _guarded(name: str, handler: Handler, gateway: Gateway) -> Handler:
    """Errors as status codes, and every call counted and logged by how it ended; its id in the trailing metadata."""

    async def guarded(request: Any, context: Any) -> Any:
        code, text = _Status.OK, ""
        trailing: tuple[tuple[str, str], ...] = ()
        notes = RequestNotes.of(_said(context, ID_HEADER))
        if gateway.traces is not None:
            notes.parent = gateway.traces.parent(partial(_said, context))
        current_request.set(notes)
        try:
            with admitted(name, context, gateway):
                response = await handler(request, context)
        except asyncio.CancelledError:  # the client has gone; its queries are cancelled by now
            code = _Status.CANCELLED
            raise
        except Exception as error:
            code, text, trailing = _refusal(error)
            if code is _Status.INTERNAL:
                _log.exception("%s failed", name)
        finally:
            gateway.metrics.count_grpc(name, code.name)
            request_over(notes, name, code.name)
        trailing = (*trailing, (ID_HEADER, notes.id))
        if code is not _Status.OK:
            await context.abort(code, text, trailing)
        context.set_trailing_metadata(trailing)
        return response

    return guarded


def _said(context: Any, wanted: str) -> str | None:
    """The first value of that name in the call's metadata."""
    found = (value for name, value in context.invocation_metadata() or () if name == wanted)
    return next((value for value in found if isinstance(value, str)), None)


def _deadline(request: Any, asked: float | None, remaining: float | None, most: float) -> float | None:
    """Seconds: the call's own, in place of the default; the earlier of the two where a parameter asks for one too."""
    if remaining is None:
        return asked
    of_call = min(max(remaining * (1 - _ON_THE_WAY), _SHORTEST), most)
    by_parameter = "deadline_ms" in request.parameters or "timeout" in request.parameters
    return min(asked, of_call) if by_parameter and asked is not None else of_call


def _refusal(error: Exception) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    code = next((code for kind, code in _STATUS if isinstance(error, kind)), _Status.INTERNAL)
    if code is _Status.INTERNAL:
        return code, "internal error; the server's log has it", ()
    if isinstance(error, MemoryError):
        return code, "not enough memory for this request now", ()
    if isinstance(error, Unavailable) and not isinstance(error, DeadlineExceeded):
        return code, str(error), ((_PUSHBACK, str(math.ceil(error.retry_after * 1000))),)
    return code, str(error), ()
