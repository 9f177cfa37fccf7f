"""The plain way in: the body is an image, the answer is JSON with names.

curl --data-binary @shoe.png 'http://127.0.0.1:8080/v1/classify?top=3&deadline_ms=200&accept_degraded=false'

model and version say which of several models; by default the first, and the version of it that is current.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collage.exceptions import InvalidInput
from collage.serving._gateway import Gateway
from collage.serving._http_body import read_body
from collage.serving._http_errors import json_response
from collage.serving._inputs import Classified, Encoded
from collage.serving._oip_model import OipModel
from collage.serving._options import QueryOptions, check_deadline
from collage.serving._settings import ServingSettings

_PARAMETERS = ("accept_degraded", "deadline_ms", "model", "top", "version")
_DEFAULT_TOP = 3
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def classify_routes(gateway: Gateway) -> list[Route]:
    """POST /v1/classify."""

    async def classify(request: Request) -> Response:
        began = perf_counter()
        with gateway.rejects_counted():
            options, top = parse_query(request.query_params, gateway.settings)
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(415, "Content-Type: a form; send the image itself (curl --data-binary @shoe.png)")
        named = request.query_params.get("model"), request.query_params.get("version")
        served = gateway.models.find(*named)
        with gateway.gate.enter() as ticket:
            with gateway.rejects_counted(served=served):
                body = await read_body(request, ticket, gateway.settings)
            with gateway.models.use(*named) as served:  # which may be a newer one by now
                (answer,) = await gateway.classify(request, served, [Encoded(body)], options)
        return json_response(describe(answer, served.oip, top, seconds=perf_counter() - began))

    return [Route("/v1/classify", classify, methods=["POST"])]


def parse_query(query: QueryParams, settings: ServingSettings) -> tuple[QueryOptions, int]:
    """Query string -> options, and how many classes to name. Raises InvalidInput, naming the parameter."""
    for name in query:
        if name not in _PARAMETERS:
            raise InvalidInput(f"no such parameter; there are {', '.join(_PARAMETERS)}", field=name[:80])
    accept = query.get("accept_degraded", "true").lower()
    if accept not in _FLAGS:
        raise InvalidInput(f"{accept[:20]!r}; true or false is needed", field="accept_degraded")
    deadline = settings.default_deadline
    if "deadline_ms" in query:
        text = query["deadline_ms"]
        try:
            milliseconds = float(text)
        except ValueError:
            raise InvalidInput(f"{text[:20]!r} is no number", field="deadline_ms") from None
        deadline = check_deadline(milliseconds, settings, "deadline_ms")
    top = query.get("top", str(_DEFAULT_TOP))
    if not (top.isascii() and top.isdecimal() and len(top) <= 9 and int(top) >= 1):
        raise InvalidInput(f"{top[:20]!r}; a whole number from 1 is needed", field="top")
    return QueryOptions(accept_degraded=_FLAGS[accept], deadline=deadline), int(top)


def describe(answer: Classified, model: OipModel, top: int, *, seconds: float) -> dict[str, Any]:
    """One answer, for people."""
    chances = _chances(answer, model.scores)
    best = np.argsort(-chances, kind="stable")[:top]
    return {
        "label": answer.label,
        "index": answer.index,
        "confidence": round(float(answer.confidence), 6),
        "top": [
            {"label": model.classes[index], "index": int(index), "probability": round(float(chances[index]), 6)}
            for index in best
        ],
        "source": answer.source.value,
        "degraded": answer.degraded,
        "milliseconds": round(seconds * 1e3, 3),
        "model": model.name,
    }


def _chances(answer: Classified, scores: str) -> NDArray[np.float64]:
    """Calibrated probabilities (classes,), as the confidence is one."""
    logits = answer.scores.astype(np.float64)
    if scores == "probabilities":
        if answer.temperature == 1.0:
            return logits
        logits = np.log(logits.clip(1e-12))
    powers = np.exp((logits - logits.max()) / answer.temperature)
    total: NDArray[np.float64] = powers / powers.sum()
    return total
