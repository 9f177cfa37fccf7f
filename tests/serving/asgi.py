"""A gateway's application between its start and its end, as an ASGI server has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from collage.serving import GatewayApp


@asynccontextmanager
async def living(app: GatewayApp, said: list[dict[str, Any]] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Gives a client of it. said: gets what the application says of its start, which may have failed, and its end."""
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages = [] if said is None else said
    started = asyncio.Event()

    async def send(message: Any) -> None:
        messages.append(message)
        started.set()

    life = asyncio.create_task(app({"type": "lifespan"}, heard.get, send))  # type: ignore[arg-type]
    heard.put_nowait({"type": "lifespan.startup"})
    await started.wait()
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:
            yield client
    finally:
        heard.put_nowait({"type": "lifespan.shutdown"})
        await life
