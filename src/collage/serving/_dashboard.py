"""The first page: `/`, its files, what it shows (`/v1/status`, `/v1/collage.png`), and the demo's button.

The page has no script or style but the files in static/, and its content policy allows nothing else.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from collage.imaging import denormalise, image_from_pixels
from collage.serving._http_errors import json_response
from collage.serving._status import Status

if TYPE_CHECKING:
    from collage.imaging import Preprocessing
    from collage.serving._dataplane import DataPlane
    from collage.serving._settings import ServingSettings
    from collage.serving._status import FloatArray

_STATIC = Path(__file__).parent / "static"
_FILES = ("dashboard.css", "dashboard.js", "icon.svg")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_LIVE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def dashboard_routes(plane: DataPlane, settings: ServingSettings) -> list[Route]:
    """GET /, /static/..., /v1/status and /v1/collage.png; with the demo flag also POST /demo/straggle?worker=ID."""
    status = Status(plane, settings)

    async def page(_request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers=_HEADERS)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            raise HTTPException(404, "Not Found")
        return FileResponse(_STATIC / name, headers=_HEADERS)

    async def show_status(_request: Request) -> Response:
        return json_response(status.read(), headers=_LIVE)

    async def show_collage(request: Request) -> Response:
        version = request.query_params.get("version", "")
        canvas = status.canvas(
            int(version) if version.isascii() and version.isdecimal() and len(version) < 19 else None
        )
        if canvas is None or plane.backup is None:
            raise HTTPException(404, "no collage has come back yet")
        content = await run_in_threadpool(_png, canvas, plane.backup.card.preprocessing)
        return Response(content, media_type="image/png", headers=_LIVE)

    async def straggle(request: Request) -> Response:
        return json_response(status.straggle(request.query_params.get("worker")))

    routes = [
        Route("/", page),
        Route("/static/{name}", file),
        Route("/v1/status", show_status),
        Route("/v1/collage.png", show_collage),
    ]
    if settings.demo:
        routes.append(Route("/demo/straggle", straggle, methods=["POST"]))
    return routes


def _png(canvas: FloatArray, preprocessing: Preprocessing) -> bytes:
    """Canvas (C, H, W) or (1, C, H, W), normalised -> PNG, one pixel each."""
    buffer = io.BytesIO()
    image_from_pixels(denormalise(canvas.reshape(canvas.shape[-3:]), preprocessing)).save(buffer, "PNG")
    return buffer.getvalue()
