"""Live targets whose inputs are bytes: whole conversations over HTTP, and gRPC's messages."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc.aio
import httptools

from collage.bench.chaos._identity import png
from collage.bench.chaos.fuzz._kept import keep
from collage.bench.chaos.fuzz._live import Live
from collage.bench.chaos.fuzz._mutate import mutated, random_bytes
from collage.bench.chaos.fuzz._pictures import hostile_picture
from collage.bench.chaos.fuzz._requests import MODEL, hostile_binary, hostile_json, hostile_message
from collage.oip import METHODS, SERVICE

_AT_ONCE = 48
_SHORT_SECONDS = 0.003  # of some calls, lest all come to their end
_WARM = 10
_WORDS = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b": ", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"HTTP/1.0"),
    *(b"HTTP/2.0", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"%00", b"%", b"..", b"HEAD ", b"OPTIONS * ", b"CONNECT a:1 ", b"TRACE / ", b"FFFFFFFFFFFFFFFFF\r\n"),
    *(b"X: \xff\r\n", b"Cookie: a=b;;=\r\n", b"Host: \r\n"),
)
_PATHS = (
    *("/v1/classify", "/v1/classify?top=2", "/v1/classify?deadline_ms=5e3&accept_degraded=0", "/v1/classify?top=x"),
    *(f"/v2/models/{MODEL}/infer", f"/v2/models/{MODEL}/versions/1/infer", "/v2/models/x/infer"),
    "/v2/repository/index",
)
_LOOKS = (
    *("/", "/v2", f"/v2/models/{MODEL}", "/v1/status", "/metrics", "/openapi.json", "/static/x", "/v1/collage.png"),
)
_HEADERS = (b"Content-Type: multipart/x", b"Authorization: Bearer \xff", b"X-Request-ID: \x7f", b"traceparent: 00-x")
_HONEST = (503, 504)
_BROKEN = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
_BUSY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


class WireTarget(NamedTuple):
    """what: its inputs, in words. make: one of them.

    ask: give it to the gateway, and note in its counts what came of it. Returns what was wrong.
    """

    name: str
    what: str
    make: Callable[[random.Random], bytes]
    ask: Callable[[Live, Any, bytes], Any]


async def run_wire(target: WireTarget, live: Live, seed: int, first: int, count: int) -> None:
    """Inputs first..first + count - 1, some at once."""
    numbers = iter(range(first, first + count))

    async def client() -> None:
        async with grpc.aio.insecure_channel(
            live.stage.gateway.grpc, [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        ) as channel:
            for index in numbers:
                if index == first + count // _WARM:
                    live.counts.memory_before = live.memory()
                data = target.make(random.Random(f"{seed}-{target.name}-{index}"))
                wrong = await target.ask(live, channel, data)
                if wrong:
                    keep(live.folder, f"{target.name}-{seed}-{index}", data, wrong)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(client())


def _conversation(rng: random.Random) -> bytes:
    """Some requests on one connection, sent at once."""
    whole = b"".join(_request(rng) for _ in range(rng.choice((1, 1, 1, 2, 4))))
    return mutated(rng, whole, _WORDS) if rng.random() < 0.5 else whole


def _request(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return f"{rng.choice(('GET', 'HEAD', 'PUT'))} {rng.choice(_LOOKS)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    path, headers = rng.choice(_PATHS), [b"Host: x"]
    if path.endswith("infer") and rng.random() < 0.5:
        body, said = hostile_binary(rng)
        headers.append(b"Inference-Header-Content-Length: " + said.encode())
    elif "classify" in path:
        body = rng.choice((png(5), hostile_picture(rng), random_bytes(rng)))
    else:
        body = hostile_json(rng)
    if rng.random() < 0.3:
        headers.append(b"Transfer-Encoding: chunked")
        body = _chunked(rng, body)
    else:
        headers.append(b"Content-Length: %d" % (len(body) + rng.choice((0, 0, 0, 0, 0, -1, 1))))
    if rng.random() < 0.3:
        headers.append(rng.choice((b"X: " + random_bytes(rng, 90), *_HEADERS)))
    if rng.random() < 0.5:
        headers.append(b"Connection: close")
    return b"POST %b HTTP/1.1\r\n%b\r\n\r\n%b" % (path.encode(), b"\r\n".join(headers), body)


def _chunked(rng: random.Random, body: bytes) -> bytes:
    out, at = b"", 0
    while at < len(body):
        size = rng.randrange(1, 2000)
        piece = body[at : at + size]
        out += b"%x%b\r\n%b\r\n" % (len(piece), rng.choice((b"", b"", b";a=b")), piece)
        at += size
    return out + rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b""))


class _Statuses:
    """What a connection has said. Called by the parser."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, set[bytes]]] = []
        self._names: set[bytes] = set()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._names = set()

    def on_header(self, name: bytes, _value: bytes) -> None:
        self._names.add(name.lower())

    def on_headers_complete(self) -> None:
        self.heads.append((self._parser.get_status_code(), self._names))


async def _converse(live: Live, _channel: Any, data: bytes) -> str | None:
    """The gateway answers what it can, and ends the connection, at the latest when it has heard nothing for long."""
    said = b""
    try:
        async with asyncio.timeout(live.hang_seconds):
            reader, writer = await asyncio.open_connection(live.host, live.port)
            try:
                writer.write(data)
                while piece := await reader.read(65536):
                    said += piece
            except ConnectionError:
                pass
            finally:
                writer.transport.abort()
    except TimeoutError:
        live.counts.hangs += 1
        return f"no end within {live.hang_seconds:g} s; it said {said[:300]!r}"
    except OSError as error:
        live.counts.crashes += 1
        return f"no connection: {error}"
    return _judge(live, said)


def _judge(live: Live, said: bytes) -> str | None:
    statuses = _Statuses()
    with contextlib.suppress(httptools.HttpParserError):  # of HEAD's answer, which has a length and no body
        statuses.feed(said)
    live.counts.accepted += any(status == 200 for status, _ in statuses.heads)
    for status, names in statuses.heads:
        if status in _HONEST and b"retry-after" in names:
            live.counts.unavailable += 1
        elif status >= 500:
            live.counts.server_errors += 1
            return f"{status}: {said[:1000]!r}"
    return None


def _call(rng: random.Random) -> bytes:
    """A method's name, and a message for it."""
    safe = [name for name in METHODS if not name.endswith(("Load", "Unload"))]
    method = "ModelInfer" if rng.random() < 0.8 else rng.choice(safe)
    return method.encode() + b"\n" + hostile_message(rng, method)


async def _ask_grpc(live: Live, channel: Any, data: bytes) -> str | None:
    method, _, body = data.partition(b"\n")
    call = channel.unary_unary(f"/{SERVICE}/{method.decode()}")
    short = len(body) % 8 == 0  # and so without much time
    seconds = _SHORT_SECONDS if short else live.hang_seconds
    began = time.monotonic()
    try:
        await call(body, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began > 0.9 * live.hang_seconds:
            live.counts.hangs += 1
            return f"no end within {seconds:g} s"
        if code in _BUSY:
            live.counts.unavailable += 1
        elif code in _BROKEN:
            live.counts.server_errors += 1
            return f"{code.name}: {error.details()}"
        return None
    live.counts.accepted += 1
    return None


WIRE_TARGETS = {
    target.name: target
    for target in (
        WireTarget(
            "http",
            "a gateway process: bytes that are nearly HTTP, several requests at once, broken chunks",
            _conversation,
            _converse,
        ),
        WireTarget(
            "grpc",
            "a gateway process: gRPC calls whose messages are broken, or end before their answer",
            _call,
            _ask_grpc,
        ),
    )
}
