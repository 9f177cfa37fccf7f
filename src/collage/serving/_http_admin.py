"""What an operator can change while serving: POST /v1/backup/on and /v1/backup/off.

Only for callers on the gateway's own machine, and not for pages of other sites in a visitor's name. A proxy on the same
machine speaks for whoever it lets through: it must not pass this path on.
"""

from __future__ import annotations

from ipaddress import ip_address

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.exceptions import InvalidInput
from collage.serving._gateway import Gateway
from collage.serving._http_errors import json_response


def admin_routes(gateway: Gateway) -> list[Route]:
    """The operator's routes."""
    plane = gateway.plane

    async def switch(request: Request) -> Response:
        refuse_foreign(request)
        refuse_far(request)
        state = request.path_params["state"]
        if state not in ("on", "off"):
            raise InvalidInput(f"{state[:20]!r}; on or off is needed", field="state")
        if plane.backup is None:
            raise InvalidInput("the policy has none with a model of its own", field="backup")
        plane.agreement.switch(on=state == "on")
        return json_response({"backup": plane.backup.card.name, "on": state == "on"})

    return [Route("/v1/backup/{state}", switch, methods=["POST"])]


def refuse_foreign(request: Request) -> None:
    """A page of another site must not press a button in its visitor's name. Raises HTTPException 403."""
    origin = request.headers.get("origin")  # some browsers send only this one
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise HTTPException(403, "only for this service's own page")


def refuse_far(request: Request) -> None:
    """Raises HTTPException 403 for whoever is on another machine."""
    if not _near(request):
        raise HTTPException(403, "only from the gateway's own machine")


def _near(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
