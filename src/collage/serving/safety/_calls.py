"""gRPC calls before the guard: who may call which method. The key is in the metadata, as HTTP's is in the headers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collage.serving._http_near import is_loopback
from collage.serving.logs import current_request
from collage.serving.safety._guard import Need

if TYPE_CHECKING:
    from collage.serving._gateway import Gateway

_NEEDS = {
    "ServerLive": Need.ANYONE,
    "ServerReady": Need.ANYONE,
    "ModelReady": Need.ANYONE,
    "ServerMetadata": Need.TENANT,
    "ModelMetadata": Need.TENANT,
    "ModelInfer": Need.TENANT,
    "RepositoryIndex": Need.TENANT,
    "ModelStatistics": Need.MONITOR,
}  # all others are for admins
_NAMES = ("x509_common_name", "x509_subject_alternative_name")


@contextmanager
def admitted(method: str, context: Any, gateway: Gateway) -> Iterator[None]:
    """Around one call. Raises Unauthenticated, Forbidden and RateLimited."""
    need = _NEEDS.get(method, Need.ADMIN)
    tenant = gateway.guard.admit(need, _key(context), _certificate(context), near=_near(context))
    if (notes := current_request.get()) is not None:
        notes.tenant = tenant.name
    if method != "ModelInfer":
        yield
        return
    with gateway.admitted(tenant):
        yield


def _key(context: Any) -> str | None:
    found: str | None = None
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
        if name == "x-api-key":
            found = value
    return found


def _certificate(context: Any) -> list[str]:
    """The names in the client's certificate; gRPC has verified it."""
    properties = context.auth_context() or {}
    return [value.decode("utf-8", "replace") for name in _NAMES for value in properties.get(name, ())]


def _near(context: Any) -> bool:
    """gRPC says "ipv4:127.0.0.1:50" or "ipv6:%5B::1%5D:50"."""
    kind, _, rest = context.peer().partition(":")
    host = rest.rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")
    return kind == "unix" or is_loopback(host)
