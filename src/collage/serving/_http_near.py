"""Where a request comes from: this machine, a page of this service, or elsewhere."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from starlette.exceptions import HTTPException
from starlette.requests import Request


def refuse_foreign(request: Request) -> None:
    """A page of another site must not press a button in its visitor's name. Raises HTTPException 403."""
    origin = request.headers.get("origin")  # some browsers send only this one
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise HTTPException(403, "only for this service's own page")


def near(request: Request) -> bool:
    """Whether the caller is on the gateway's own machine. A proxy there speaks for whoever it lets through."""
    return request.client is not None and is_loopback(request.client.host)


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, can only be reached from the machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
