"""Clients that no server wants. Each goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from collage.bench._http import HttpPool, post

_CLIENTS = 200
_FLOODS = 4
_IMAGES = 10_000


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
