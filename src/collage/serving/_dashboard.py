"""The first page: `/`, its files, what it shows, and the demo's button.

What it shows: `/v1/status` (this moment), `/v1/history` (the last day), `/v1/stories` (a few queries, step by step) and
`/v1/collage.png`.

The page has no script or style but the files in static/, and its content policy allows nothing else.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from collage.exceptions import InvalidInput
from collage.imaging import denormalise, image_from_pixels
from collage.serving._http_errors import json_response
from collage.serving._page_models import PageModels

if TYPE_CHECKING:
    from collage.imaging import Preprocessing
    from collage.serving._chronicle import Chronicle
    from collage.serving._models import Models
    from collage.serving._served import Served
    from collage.serving._settings import ServingSettings
    from collage.serving._status import FloatArray, Status

_STATIC = Path(__file__).parent / "static"
_FILES = frozenset(path.name for path in _STATIC.iterdir() if path.name != "index.html")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_LIVE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def dashboard_routes(models: Models, settings: ServingSettings) -> list[Route]:
    """The page, its files and what it shows; with the demo flag also POST /demo/straggle?worker=ID.

    All of the first model, or of another with ?model=NAME, in whichever version is current.
    """
    shown = PageModels(models)

    def find(request: Request) -> tuple[Served, Status, Chronicle]:
        return shown.find(request.query_params.get("model"))

    async def page(_request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers=_HEADERS)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            raise HTTPException(404, "Not Found")
        return FileResponse(_STATIC / name, headers=_HEADERS)

    async def show_status(request: Request) -> Response:
        served, status, _ = find(request)
        return json_response({"model": served.name, "models": shown.names, **status.read()}, headers=_LIVE)

    async def show_history(request: Request) -> Response:
        _, _, chronicle = find(request)
        span = request.query_params.get("range", "15m")
        if span not in chronicle.history.series:
            raise InvalidInput(f"{span[:20]!r}; one of {', '.join(chronicle.history.series)} is needed", field="range")
        try:
            since = float(request.query_params.get("since", "0"))
        except ValueError:
            raise InvalidInput("a Unix time is needed", field="since") from None
        return json_response(chronicle.read(span, since), headers=_LIVE)

    async def show_stories(request: Request) -> Response:
        _, _, chronicle = find(request)
        return json_response(chronicle.stories.told(time.monotonic()), headers=_LIVE)

    async def show_collage(request: Request) -> Response:
        version = request.query_params.get("version", "")
        served, status, _ = find(request)
        canvas = status.canvas(
            int(version) if version.isascii() and version.isdecimal() and len(version) < 19 else None
        )
        backup = served.plane.backup
        if canvas is None or backup is None:
            raise HTTPException(404, "no collage has come back yet")
        content = await run_in_threadpool(_png, canvas, backup.card.preprocessing)
        return Response(content, media_type="image/png", headers=_LIVE)

    async def straggle(request: Request) -> Response:
        _, status, _ = find(request)
        return json_response(status.straggle(request.query_params.get("worker")))

    routes = [
        Route("/", page),
        Route("/static/{name}", file),
        Route("/v1/status", show_status),
        Route("/v1/history", show_history),
        Route("/v1/stories", show_stories),
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
