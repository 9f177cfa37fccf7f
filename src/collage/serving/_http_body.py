"""A request's body, within a limit on bytes and on time, whatever its Content-Length says."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from collage.exceptions import InvalidInput, TooLarge
from collage.serving._http_gate import Ticket
from collage.serving._settings import ServingSettings

WHOLE = "collage.whole"  # in a request's scope: all of its body has come in


async def read_body(request: Request, ticket: Ticket, settings: ServingSettings) -> bytes:
    """The whole body.

    Raises TooLarge as soon as the limit is passed (or announced), HTTPException 408 where the client is too slow and
    415 where it is compressed, Unavailable where too much is being received at once, ClientDisconnect where it goes.
    """
    limit = settings.max_body_bytes
    _check_headers(request, limit)
    if request.scope.get(WHOLE):  # no clock is needed for what is there already
        return await _read(request, ticket, limit)
    try:
        async with asyncio.timeout(settings.body_seconds):
            return await _read(request, ticket, limit)
    except TimeoutError:
        raise HTTPException(408, f"body: not complete within {settings.body_seconds:g} s") from None


async def _read(request: Request, ticket: Ticket, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        if chunk:
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"more than {limit:,} bytes", field="body")
            ticket.hold(len(chunk))
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def header(scope: Scope, name: bytes) -> str | None:
    """A request's header, by its name in small letters. Starlette's mapping of them costs ten times as much."""
    for known, value in scope["headers"]:
        if known == name:
            text: str = value.decode("latin-1")
            return text
    return None


def _check_headers(request: Request, limit: int) -> None:
    encoding, length = header(request.scope, b"content-encoding"), header(request.scope, b"content-length")
    if encoding not in (None, "identity"):
        raise HTTPException(415, f"Content-Encoding: {encoding[:40]!r} is not supported; send the body as it is")
    if length is None:
        return
    if not (length.isascii() and length.isdecimal() and len(length) <= 18):
        raise InvalidInput(f"{length[:20]!r} is no number of bytes", field="Content-Length")
    if int(length) > limit:
        raise TooLarge(f"{int(length):,} bytes; at most {limit:,} are allowed", field="body")
