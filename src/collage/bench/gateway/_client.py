"""The client, the same for all: in this process, kept connections, prepared requests, as little work as there can be.

It shares the machine with the server that it measures, as it would not in life; so it must cost little, and all alike.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, cast

import httptools
import numpy as np
from numpy.typing import NDArray

from collage.bench._http import HttpPool
from collage.bench._load import OpenLoop

_ANSWER_SECONDS = 30.0


class Figures(NamedTuple):
    """Of one stretch of load. latencies (n,), seconds. other_cpu: of all but this process, seconds; None: unknown."""

    seconds: float
    latencies: NDArray[np.float64]
    bad: int  # answers that were none, or not 200
    own_cpu: float


async def closed_loop(host: str, port: int, request: bytes, connections: int, seconds: float) -> Figures:
    """Each connection asks again as soon as it has its answer. Raises OSError where there is no connecting."""
    loop = asyncio.get_running_loop()
    load = _Closed(request)
    asking = [(await loop.create_connection(lambda: _Asking(load), host, port))[1] for _ in range(connections)]
    began, cpu = time.perf_counter(), time.process_time()
    for each in asking:
        each.ask()
    await asyncio.sleep(seconds)
    taken, own = time.perf_counter() - began, time.process_time() - cpu
    load.over = True
    latencies = np.asarray(load.latencies)
    async with asyncio.timeout(_ANSWER_SECONDS):
        await asyncio.gather(*(each.ended for each in asking))
    return Figures(taken, latencies, load.bad, own)


async def open_loop(host: str, port: int, request: bytes, *, rate: float, seconds: float, seed: int) -> Figures:
    """Poisson arrivals, each timed from when it should have been sent."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.5) + 20))
    arrivals = arrivals[arrivals < seconds]
    pool, bad = HttpPool(host, port), 0

    async def send(_index: int) -> bool:
        nonlocal bad
        try:
            good = (await pool.ask(request, seconds=_ANSWER_SECONDS)).status == 200
        except (OSError, ValueError):
            good = False
        bad += not good
        return good

    load = OpenLoop(arrivals, send)
    cpu = time.process_time()
    await pool.open(8)
    await load.run()
    await pool.close()
    return Figures(seconds, load.latencies[np.isfinite(load.latencies)], bad, time.process_time() - cpu)


class _Closed:
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.latencies: list[float] = []
        self.bad = 0
        self.over = False


class _Asking(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: _Closed) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0

    def ask(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is not derived from it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        load = self._load
        load.latencies.append(time.perf_counter() - self._sent)
        load.bad += self._parser.get_status_code() != 200
        if load.over:
            assert self._transport is not None
            self._transport.close()
            self._end()
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.bad += not self._load.over
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
