"""The operator's workers: GET and POST /v1/workers, POST /v1/workers/{id}/drain and /resume, DELETE /v1/workers/{id}.

Of the first model; of another with ?model=NAME.

The guard (`safety/`) lets admins change them, and without keys callers on the gateway's own machine. A worker that is
removed first finishes what it runs: no query is lost by any of these.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.dispatch import Role, WorkerId
from collage.exceptions import InvalidInput, Unavailable
from collage.serving._dataplane import DataPlane
from collage.serving._gateway import Gateway
from collage.serving._http_errors import json_response
from collage.serving._roster import Roster

_MOST_AT_ONCE = 64


def worker_routes(gateway: Gateway) -> list[Route]:
    """The routes. A worker's id may hold slashes: those of remote servers do."""

    def plane_of(request: Request) -> DataPlane:
        return gateway.models.find(request.query_params.get("model")).plane

    def roster(request: Request) -> Roster:
        found = plane_of(request).roster
        if found is None:
            raise Unavailable("the service is starting")
        return found

    async def show(request: Request) -> Response:
        return json_response(_state(plane_of(request), roster(request)))

    async def add(request: Request) -> Response:
        there = roster(request)
        count = request.query_params.get("count", "1")
        if not (count.isascii() and count.isdecimal() and 1 <= int(count[:4]) <= _MOST_AT_ONCE and len(count) < 4):
            raise InvalidInput(f"{count[:20]!r}; a number from 1 to {_MOST_AT_ONCE} is needed", field="count")
        return json_response({"added": [there.add() for _ in range(int(count))]}, 201)

    async def drain(request: Request) -> Response:
        there, worker = roster(request), request.path_params["worker"]
        there.drain(worker)
        return json_response({"worker": worker, "state": there.state(worker)})

    async def resume(request: Request) -> Response:
        there, worker = roster(request), request.path_params["worker"]
        there.resume(worker)
        return json_response({"worker": worker, "state": there.state(worker)})

    async def remove(request: Request) -> Response:
        there, worker = roster(request), request.path_params["worker"]
        there.remove(worker)
        gone = worker not in plane_of(request).engine.workers
        return json_response({"worker": worker, "state": "gone" if gone else there.state(worker)}, 200 if gone else 202)

    return [
        Route("/v1/workers", show, methods=["GET"]),
        Route("/v1/workers", add, methods=["POST"]),
        Route("/v1/workers/{worker:path}/drain", drain, methods=["POST"]),
        Route("/v1/workers/{worker:path}/resume", resume, methods=["POST"]),
        Route("/v1/workers/{worker:path}", remove, methods=["DELETE"]),
    ]


def _state(plane: DataPlane, roster: Roster) -> dict[str, Any]:
    """All workers, and how many there should be."""
    seen = {view.worker: view for view in plane.view().workers}
    scaler = plane.autoscaler

    def worker(name: WorkerId) -> dict[str, Any]:
        view = seen.get(name)
        return {
            "id": name,
            "state": roster.state(name),
            "roles": [] if view is None else [role.value for role in Role if role in view.roles],
            "jobs": 0 if view is None else view.jobs,
            "done": 0 if view is None else view.done,
            "failed": 0 if view is None else view.failed,
            "speed": None if view is None else view.speed,
        }

    return {
        "workers": [worker(name) for name in plane.engine.workers],
        "elastic": roster.elastic,
        "scaling": None
        if scaler is None
        else {
            "min": scaler.scaling.least,
            "max": scaler.scaling.most,
            "target_utilisation": scaler.scaling.target,
            "demand": scaler.demand,
            "start_up_seconds": scaler.start_up or None,
        },
    }
