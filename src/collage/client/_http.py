"""How both clients use httpx: one pool of kept connections, times, headers, and its errors in our words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from collage.client._wire import check_url
from collage.exceptions import GatewayTooLate, GatewayUnreachable, SettingsError

_GRACE = 1.0  # seconds beyond a deadline for the gateway's own word that it is over
_KEEP_SECONDS = 30.0  # an unused connection is kept; shorter than the gateway keeps it, so that it is not closed in use


def settings_of(
    url: str,
    *,
    api_key: str | None,
    timeout: float,
    connections: int,
    ca: str | Path | None,
    certificate: tuple[str | Path, str | Path] | None,
) -> dict[str, Any]:
    """Arguments of httpx's clients. Raises SettingsError that names what makes no sense."""
    if not timeout > 0:
        raise SettingsError(f"timeout: {timeout}; a number of seconds above 0 is needed")
    if connections < 1:
        raise SettingsError(f"connections: {connections}; a number from 1 is needed")
    headers = {}
    if api_key is not None:
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise SettingsError("api_key: printable ASCII without spaces is needed")
        headers["Authorization"] = f"Bearer {api_key}"
    return {
        "base_url": check_url(url),
        "headers": headers,
        "timeout": timeout,
        "limits": httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_SECONDS
        ),
        "verify": _tls(ca, certificate),
        "trust_env": False,  # a proxy of the environment would see the images
    }


def time_for(deadline: float | None, timeout: float) -> float:
    """Seconds to wait for a response."""
    return timeout if deadline is None else min(timeout, deadline + _GRACE)


@contextmanager
def translated(url: str, request_id: str) -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except httpx.PoolTimeout:
        raise GatewayTooLate("no connection was free in time; allow more of them", request_id=request_id) from None
    except httpx.ConnectTimeout as error:
        raise GatewayUnreachable(f"{url} does not take connections ({_said(error)})", request_id=request_id) from None
    except httpx.TimeoutException:
        raise GatewayTooLate(f"{url} gave no answer in time", request_id=request_id) from None
    except httpx.HTTPError as error:
        raise GatewayUnreachable(f"no gateway answers at {url} ({_said(error)})", request_id=request_id) from None


def plain(headers: httpx.Headers) -> Mapping[str, str]:
    """By lower-case name."""
    return {name.lower(): value for name, value in headers.items()}


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tls(ca: str | Path | None, certificate: tuple[str | Path, str | Path] | None) -> ssl.SSLContext | bool:
    if ca is None and certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # also where the file is no certificate
        raise SettingsError(f"ca: {ca} cannot be used ({error.strerror or error})") from None
    if certificate is not None:
        try:
            context.load_cert_chain(*map(str, certificate))
        except OSError as error:
            raise SettingsError(f"certificate: {certificate[0]} cannot be used ({error.strerror or error})") from None
    return context
