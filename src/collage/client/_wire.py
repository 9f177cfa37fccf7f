"""Requests and responses of the Open Inference Protocol over HTTP, without any I/O: both clients share them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import orjson

from collage.client._answers import Answer, Candidate, Model
from collage.client._images import Part
from collage.exceptions import (
    GatewayBusy,
    GatewayError,
    GatewayTooLate,
    InvalidInput,
    NotAllowed,
    RequestRefused,
    SettingsError,
)

LENGTH_HEADER = "Inference-Header-Content-Length"
ID_HEADER = "X-Request-ID"

_KINDS: dict[int, type[GatewayError]] = {
    401: NotAllowed,
    403: NotAllowed,
    429: GatewayBusy,
    503: GatewayBusy,
    504: GatewayTooLate,
}
# What is raised by reading JSON of another form than a gateway's.
_NOT_AS_SAID = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


class Ask(NamedTuple):
    """One HTTP request, relative to the gateway's URL."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Options(NamedTuple):
    """What a caller asks of an image's answer. deadline: seconds."""

    deadline: float | None
    accept_degraded: bool
    top: int
    request_id: str


def check_options(deadline: float | None, accept_degraded: bool, top: int, request_id: str | None) -> Options:
    """Raises InvalidInput that names the argument."""
    if deadline is not None and not 0 < deadline < math.inf:
        raise InvalidInput(f"{deadline}; a number of seconds above 0 is needed", field="deadline")
    if top < 1:
        raise InvalidInput(f"{top}; a whole number from 1 is needed", field="top")
    sent = request_id or ""
    if not (sent.isascii() and sent.isprintable() and len(sent) <= 200):
        raise InvalidInput("at most 200 printable ASCII characters are taken", field="request_id")
    return Options(deadline, accept_degraded, top, sent)


def check_url(url: str) -> str:
    """The gateway's URL without a trailing slash. Raises SettingsError for what is none."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SettingsError(f"url: {url!r}; http://HOST:PORT is needed")
    return full.rstrip("/")


def index_ask() -> Ask:
    """Which models there are."""
    return Ask("POST", "/v2/repository/index", b"{}", {"Content-Type": "application/json"})


def read_index(body: bytes) -> list[str]:
    """Their names, the gateway's default first, each once."""
    try:
        return list(dict.fromkeys(str(entry["name"]) for entry in orjson.loads(body)))
    except _NOT_AS_SAID as error:
        raise _no_gateway(error) from None


def model_ask(name: str, version: str | None) -> Ask:
    """A model's metadata."""
    return Ask("GET", _path(name, version))


def read_model(body: bytes) -> Model:
    """The metadata."""
    try:
        said = orjson.loads(body)
        (taken,), (given,) = said["inputs"], said["outputs"]
        _, channels, height, width = taken["shape"]
        return Model(
            name=said["name"],
            versions=tuple(said["versions"]),
            classes=tuple(orjson.loads(said["parameters"]["classes"])),
            scores=said["parameters"]["scores"],
            input_shape=(int(channels), int(height), int(width)),
            input_name=taken["name"],
            output_name=given["name"],
        )
    except _NOT_AS_SAID as error:
        raise _no_gateway(error) from None


def infer_ask(model: Model, version: str | None, part: Part, options: Options) -> Ask:
    """A request for the images' answers."""
    parameters: dict[str, object] = {"accept_degraded": options.accept_degraded}
    if options.deadline is not None:
        parameters["deadline_ms"] = options.deadline * 1e3
    own: dict[str, object] = {"binary_data_size": len(part.data)}
    if part.datatype == "FP32":
        own["layout"] = "NCHW"
    head = orjson.dumps(
        {
            "id": options.request_id,
            "parameters": parameters,
            "inputs": [{"name": model.input_name, "datatype": part.datatype, "shape": part.shape, "parameters": own}],
            "outputs": [{"name": model.output_name, "parameters": {"classification": options.top}}],
        }
    )
    headers = {LENGTH_HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
    if options.request_id:
        headers[ID_HEADER] = options.request_id
    return Ask("POST", f"{_path(model.name, version)}/infer", head + part.data, headers)


def read_answers(body: bytes, count: int, seconds: float) -> list[Answer]:
    """One answer for each image, in order. seconds: what the request took."""
    try:
        said = orjson.loads(body)
        (output,) = said["outputs"]
        of_each = {name: orjson.loads(text) for name, text in said["parameters"].items()}
        rows, top = output["shape"]
        texts = [text.split(":", 2) for text in output["data"]]
        if rows != count or len(texts) != rows * top:
            raise ValueError(f"{rows} answers for {count} images")
        answers = []
        for row in range(rows):
            candidates = tuple(
                Candidate(label, int(index), float(score)) for score, index, label in texts[row * top : (row + 1) * top]
            )
            answers.append(
                Answer(
                    label=candidates[0].label,
                    index=candidates[0].index,
                    confidence=float(of_each["confidence"][row]),
                    source=of_each["source"][row],
                    degraded=of_each["degraded"][row],
                    top=candidates,
                    milliseconds=float(of_each["milliseconds"][row]),
                    seconds=seconds,
                    model=said["model_name"],
                    version=said["model_version"],
                    request_id=said.get("id", ""),
                )
            )
        return answers
    except _NOT_AS_SAID as error:
        raise _no_gateway(error) from None


def refusal(status: int, headers: Mapping[str, str], body: bytes, request_id: str = "") -> GatewayError:
    """What a response that is no success means."""
    try:
        message = orjson.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return GatewayError(f"HTTP {status}, and not in a gateway's words", status=status, request_id=request_id)
    kind = _KINDS.get(status, RequestRefused if 400 <= status < 500 else GatewayError)
    after = headers.get("retry-after", "")
    retry_after = float(after) if after.isascii() and after.isdecimal() else None
    return kind(str(message), status=status, retry_after=retry_after, request_id=request_id)


def _path(name: str, version: str | None) -> str:
    path = f"/v2/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _no_gateway(error: Exception) -> GatewayError:
    return GatewayError(f"what answers there is no gateway of Collage ({type(error).__name__}: {error})")
