"""What an operator can change while serving: POST /v1/backup/on and /v1/backup/off, with ?model=NAME of another model.

The guard (`safety/`) lets admins through, and without keys callers on the gateway's own machine.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.exceptions import InvalidInput
from collage.serving._gateway import Gateway
from collage.serving._http_errors import json_response


def admin_routes(gateway: Gateway) -> list[Route]:
    """The operator's routes."""

    async def switch(request: Request) -> Response:
        plane = gateway.models.find(request.query_params.get("model")).plane
        state = request.path_params["state"]
        if state not in ("on", "off"):
            raise InvalidInput(f"{state[:20]!r}; on or off is needed", field="state")
        if plane.backup is None:
            raise InvalidInput("the policy has none with a model of its own", field="backup")
        plane.agreement.switch(on=state == "on")
        return json_response({"backup": plane.backup.card.name, "on": state == "on"})

    return [Route("/v1/backup/{state}", switch, methods=["POST"])]
