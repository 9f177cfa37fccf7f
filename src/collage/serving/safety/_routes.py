"""HTTP routes behind the guard: who may call which, and whose limits a call counts against."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.serving._http_errors import CHALLENGE
from collage.serving._http_near import near, refuse_foreign
from collage.serving.logs import current_request
from collage.serving.safety._guard import Need

if TYPE_CHECKING:
    from collage.serving._gateway import Gateway

CERTIFICATE = "collage.certificate"  # in a request's scope: the names in its verified client certificate

Endpoint = Callable[[Request], Awaitable[Response]]

# What is not in here is for admins: a new route is closed until it is given its place.
_NEEDS = {
    "/v2/health/live": Need.ANYONE,
    "/v2/health/ready": Need.ANYONE,
    "/v2/models/{model}/ready": Need.ANYONE,
    "/v2/models/{model}/versions/{version}/ready": Need.ANYONE,
    "/openapi.json": Need.ANYONE,
    "/v1/classify": Need.TENANT,
    "/v2": Need.TENANT,
    "/v2/models/{model}": Need.TENANT,
    "/v2/models/{model}/infer": Need.TENANT,
    "/v2/models/{model}/versions/{version}": Need.TENANT,
    "/v2/models/{model}/versions/{version}/infer": Need.TENANT,
    "/v2/repository/index": Need.TENANT,
    "/v2/models/stats": Need.MONITOR,
    "/v2/models/{model}/stats": Need.MONITOR,
    "/v2/models/{model}/versions/{version}/stats": Need.MONITOR,
    "/": Need.MONITOR,
    "/metrics": Need.MONITOR,
    "/static/{name}": Need.MONITOR,
    "/v1/status": Need.MONITOR,
    "/v1/history": Need.MONITOR,
    "/v1/stories": Need.MONITOR,
    "/v1/collage.png": Need.PICTURE,
    "/demo/straggle": Need.PICTURE,
}
_READ = {"/v1/workers": Need.MONITOR}  # what only reading needs, where that is less
_FOR_PEOPLE = 'Basic realm="collage: any name, and a key as the password"'  # browsers know how to ask for that


def guarded(routes: Iterable[Route], gateway: Gateway) -> list[Route]:
    """The routes, each behind what it needs. Endpoints that several routes share still do."""
    made: dict[tuple[Any, Need], Endpoint] = {}
    behind = []
    for route in routes:
        need = need_of(route.path, route.methods or ())
        classifies = charged(route.path)
        if (route.endpoint, need) not in made:
            made[route.endpoint, need] = _behind(route.endpoint, gateway, need, classifies=classifies)
        methods = None if route.methods is None else sorted(route.methods)
        behind.append(Route(route.path, made[route.endpoint, need], methods=methods))
    return behind


def need_of(path: str, methods: Collection[str]) -> Need:
    """What a route needs."""
    reads = set(methods) <= {"GET", "HEAD"}
    return _READ[path] if reads and path in _READ else _NEEDS.get(path, Need.ADMIN)


def charged(path: str) -> bool:
    """Whether a request counts against its tenant's limits: whether it asks for classes."""
    return path.endswith(("/infer", "/classify"))


def _behind(endpoint: Endpoint, gateway: Gateway, need: Need, *, classifies: bool) -> Endpoint:
    people = need >= Need.MONITOR

    async def checked(request: Request) -> Response:
        if people:
            request.scope[CHALLENGE] = _FOR_PEOPLE
            if request.method not in ("GET", "HEAD"):
                refuse_foreign(request)
        tenant = gateway.guard.everyone
        if gateway.guard.asks(need):
            key = presented_key(request, basic=people)
            tenant = gateway.guard.admit(need, key, request.scope.get(CERTIFICATE, ()), near=near(request))
        if (notes := current_request.get()) is not None:
            notes.tenant = tenant.name
        if not classifies:
            return await endpoint(request)
        with gateway.admitted(tenant):
            return await endpoint(request)

    return checked


def presented_key(request: Request, *, basic: bool) -> str | None:
    """The key in a request's headers. basic: the password of HTTP's basic authentication counts, too."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if basic and kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return request.headers.get("x-api-key")
