"""The Open Inference Protocol over HTTP, as a client: one server, its connections kept and used again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from collage.engines._base import FloatArray
from collage.engines._oip_options import OipOptions, TlsOptions
from collage.engines._oip_transport import RemoteFault
from collage.engines._oip_wire import (
    BINARY_EXTENSIONS,
    LENGTH_HEADER,
    RemoteModel,
    check_tensors,
    decode_response,
    encode_request,
)

_KEEP_SECONDS = 60.0  # an idle connection
_MOST_METADATA = 2**20  # bytes
_CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)


class HttpTransport:
    """One server at a base URL, http or https, a path prefix allowed. Made and used on one event loop."""

    def __init__(self, url: str, options: OipOptions) -> None:
        self._url = url.rstrip("/")
        self._options = options
        self._binary = options.encoding == "binary"
        self._tls = (options.tls or TlsOptions()).context() if url.startswith("https:") else None
        self._headers = options.all_headers()
        self._session: aiohttp.ClientSession | None = None

    async def why_not_ready(self, model: RemoteModel) -> str | None:
        """Asks server and model; None: ready."""
        for path in ("/v2/health/ready", f"{_path(model)}/ready"):
            status, body, _ = await self._ask("GET", path)
            with contextlib.suppress(ValueError):
                said = orjson.loads(body)
                if isinstance(said, dict) and said.get("ready") is False:
                    return f"{path}: not ready"
            if status != 200:
                return f"{path}: {_said(status, body)}"
        return None

    async def why_unfit(self, model: RemoteModel) -> str | None:
        """What in the model's metadata says that it is another one than we mean; None: nothing does."""
        if self._options.encoding == "auto":
            extensions = (await self._metadata("/v2")).get("extensions")
            self._binary = isinstance(extensions, list) and any(name in extensions for name in BINARY_EXTENSIONS)
        return check_tensors(model, await self._metadata(_path(model)))

    async def infer(
        self, model: RemoteModel, request_id: str, inputs: FloatArray, headers: Mapping[str, str] | None = None
    ) -> FloatArray:
        """Inputs (B, ...) -> the output (B, ...), its form checked. headers: of this call, beside those of all."""
        body, head_size = encode_request(model, request_id, inputs, binary=self._binary)
        own = {"Content-Type": "application/json"}
        if head_size is not None:
            own = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(head_size)}
        if headers is not None:
            own |= headers
        status, answer, answered = await self._ask("POST", f"{_path(model)}/infer", body, own)
        if status != 200:
            raise RemoteFault(_said(status, answer))
        try:
            return decode_response(answer, answered.get(LENGTH_HEADER), model, request_id)
        except ValueError as error:
            raise RemoteFault(str(error)) from None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _metadata(self, path: str) -> dict[str, Any]:
        """A server may have none: then it says nothing against it."""
        status, body, _ = await self._ask("GET", path)
        try:
            found = orjson.loads(body) if status == 200 else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers. A kept connection that the server has just closed is worth a second try."""
        options = self._options
        seconds, most = options.timeout, options.max_response_bytes
        if body is None:
            seconds, most = options.probe_timeout, _MOST_METADATA
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        for last in (False, True):
            try:
                # Left at once where we are cancelled, which closes the connection.
                async with self._request(method, path, until - loop.time(), body, headers) as response:
                    return response.status, await _read(response, most), response.headers
            except aiohttp.ConnectionTimeoutError:
                raise RemoteFault(f"no connection within {self._options.connect_timeout:g} s", silent=True) from None
            except TimeoutError:
                raise RemoteFault(f"no answer within {seconds:g} s", silent=True) from None
            except _CUT as error:
                if last or isinstance(error, aiohttp.ClientConnectorError):
                    raise RemoteFault(f"no connection ({_short(error)})", gone=True) from None
            except aiohttp.ClientPayloadError as error:
                raise RemoteFault(f"the answer ended early ({_short(error)})", gone=True) from None
            except (aiohttp.ClientError, ValueError) as error:
                raise RemoteFault(f"the answer is no HTTP ({_short(error)})") from None
        raise AssertionError

    def _request(
        self, method: str, path: str, seconds: float, body: bytes | None, headers: Mapping[str, str] | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEEP_SECONDS, ssl=True if self._tls is None else self._tls
                ),
                headers={"Accept-Encoding": "identity"} | self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # none was asked for
            )
        timeout = aiohttp.ClientTimeout(total=max(seconds, 0.001), sock_connect=self._options.connect_timeout)
        return self._session.request(
            method, self._url + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
        )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body. Raises RemoteFault as soon as it is too long, and leaves the rest unread."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            response.close()
            raise RemoteFault(f"the answer is longer than {most:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _path(model: RemoteModel) -> str:
    path = f"/v2/models/{quote(model.name, safe='')}"
    return path if model.version is None else f"{path}/versions/{quote(model.version, safe='')}"


def _short(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _said(status: int, body: bytes) -> str:
    """An error as the server puts it, short."""
    return f"HTTP {status} {' '.join(body[:400].decode(errors='replace').split())[:200]}".rstrip()
