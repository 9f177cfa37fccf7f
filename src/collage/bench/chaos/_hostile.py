"""Clients that no server wants. Each goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache

import grpc.aio
from PIL import Image

from collage.bench._http import HttpPool, post
from collage.oip import SERVICE

_CLIENTS = 200
_FLOODS = 4
_IMAGES = 10_000
_SOME = 20
_AT_ONCE = 100
_CHUNK = 64 * 1024


async def newcomers(host: str, port: int) -> None:
    """Clients that connect, ask for something small, and go; ten a second."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            pool = HttpPool(host, port)
            try:
                await pool.ask(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n", seconds=1)
            finally:
                await pool.close()
        await asyncio.sleep(0.1)


async def slow_clients(host: str, port: int) -> None:
    """Half of them are slow in the head, half in the body."""

    async def one(number: int) -> None:
        head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        sent = head[: len(head) // 2] if number % 2 else head + b"\r\n"
        async with _raw(host, port) as (_, writer):
            writer.write(sent)
            while not writer.is_closing():
                await asyncio.sleep(1.0)
                writer.write(b"x")

    await _crowd(one)


async def half_open(host: str, port: int) -> None:
    """A piece of a request, and then nothing, without closing."""
    pieces = itertools.cycle(
        [b"", b"POST /v1", b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf an image"]
    )

    async def one(_number: int) -> None:
        async with _raw(host, port) as (reader, writer):
            writer.write(next(pieces))
            while await reader.read(1024):
                pass

    await _crowd(one)


async def header_flood(host: str, port: int) -> None:
    """Headers, a kilobyte each, without end."""

    async def one(_number: int) -> None:
        async with _raw(host, port) as (_, writer):
            writer.write(b"GET /v2 HTTP/1.1\r\n")
            for number in itertools.count():
                writer.write(b"X-%d: %b\r\n" % (number, b"y" * 1000))
                await writer.drain()
                await asyncio.sleep(0.001)

    await _crowd(one, clients=_FLOODS)


async def big_requests(host: str, port: int) -> None:
    """Each of 10,000 images, which the gateway refuses by its shape."""
    tensor = f'{{"inputs": [{{"name": "images", "datatype": "BYTES", "shape": [{_IMAGES}], "data": ["'
    body = tensor.encode() + b'","'.join([b"iVBORw0KGgo="] * _IMAGES) + b'"]}]}'
    request = post("/v2/models/identity/infer", body, "x")

    async def one(_number: int) -> None:
        pool = HttpPool(host, port)
        try:
            await pool.ask(request, seconds=30)
        finally:
            await pool.close()
        await asyncio.sleep(0.2)

    await _crowd(one, clients=_FLOODS)


async def endless_bodies(host: str, port: int) -> None:
    """Chunks without end: half of them as fast as they are taken, half of them a byte at a time."""

    async def one(number: int) -> None:
        chunk = b"1\r\nx\r\n" if number % 2 else b"%x\r\n%b\r\n" % (_CHUNK, bytes(_CHUNK))
        async with _raw(host, port) as (_, writer):
            writer.write(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0.2)

    await _crowd(one, clients=_SOME)


async def pipelines(host: str, port: int) -> None:
    """A hundred requests at once on each connection, whose answers are read late or not at all."""
    request = b"GET /v2/models/identity HTTP/1.1\r\nHost: x\r\n\r\n"

    async def one(number: int) -> None:
        async with _raw(host, port) as (reader, writer):
            writer.write(request * _AT_ONCE)
            await asyncio.sleep(1.0)
            if number % 2:
                await reader.read(2**20)

    await _crowd(one, clients=_SOME)


async def bombs(host: str, port: int) -> None:
    """Small files that say, or become, something large: 60,000 x 60,000 pixels, 16 million, a JPEG of 500 scans."""
    files = itertools.cycle(_bombs())

    async def one(_number: int) -> None:
        pool = HttpPool(host, port)
        try:
            await pool.ask(post("/v1/classify", next(files), "x"), seconds=30)
        finally:
            await pool.close()
        await asyncio.sleep(0.5)

    await _crowd(one, clients=_FLOODS)


async def grpc_flood(address: str) -> None:
    """Calls over gRPC, many at once on each connection: broken messages, no time, models that are not there."""
    calls = itertools.cycle(
        [("ModelInfer", b"\x0a\xff"), ("ModelInfer", b""), ("ModelReady", b""), ("None", b"x" * 999)]
    )

    async def one(_number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options) as channel:
            some = list(itertools.islice(calls, _AT_ONCE))
            waiting = [channel.unary_unary(f"/{SERVICE}/{name}")(body, timeout=0.5) for name, body in some]
            with contextlib.suppress(grpc.aio.AioRpcError):
                await waiting[-1]
            await asyncio.sleep(0.5)

    await _crowd(one, clients=_FLOODS)


@cache
def _bombs() -> list[bytes]:
    """They are made once."""
    vast = _png(60_000, zlib.compress(bytes(10_000)))
    flat = _png(4000, zlib.compress(bytes(4001 * 4000))[:-6])  # it ends early: an answer would count as a query's
    file = io.BytesIO()
    Image.new("L", (2000, 2000)).save(file, "JPEG", progressive=True)
    scans = file.getvalue()
    last = scans[scans.rindex(b"\xff\xda") : -2]
    return [vast, flat, scans[:-2] + last * 500 + scans[-2:]]


def _png(side: int, pixels: bytes) -> bytes:
    """A grey square whose compressed pixels are these."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


async def _crowd(one: Callable[[int], Coroutine[None, None, None]], *, clients: int = _CLIENTS) -> None:
    """So many at once; one that is thrown out comes again."""

    async def again_and_again(number: int) -> None:
        while True:
            with contextlib.suppress(
                OSError, TimeoutError, ValueError, RuntimeError
            ):  # the last: writing to a closed one
                await one(number)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(again_and_again(number))


@asynccontextmanager
async def _raw(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
