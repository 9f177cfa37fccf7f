"""The short way of requests that ask for classes: what it answers, and that a client's going is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from starlette.requests import ClientDisconnect

from collage.serving._departure import Departure
from collage.serving._latency import Latencies


def _infer(gateway: Any, body: bytes, path: str = "/v2/models/greys/infer") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _tensor(grey: int) -> bytes:
    tensor = {"name": "images", "shape": [1, 8, 8], "datatype": "UINT8", "data": [round(grey * 255 / 9)] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


def _read(stream: Any) -> tuple[int, bytes]:
    status, length = int(stream.readline().split()[1]), 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status, stream.read(length)


def test_pipelined_requests_are_answered_in_order_good_and_bad(gateway: Any) -> None:
    greys = [3, 7, 1, 9]
    requests = [_infer(gateway, _tensor(grey)) for grey in greys]
    requests[1:1] = [_infer(gateway, b"{}"), _infer(gateway, _tensor(1), "/v2/models/other/infer")]
    with contextlib.closing(gateway.connect()) as connection:
        connection.connect()
        connection.sock.sendall(b"".join(requests))
        with connection.sock.makefile("rb") as stream:
            answers = [_read(stream) for _ in requests]
    assert [status for status, _ in answers] == [200, 400, 404, 200, 200, 200]
    scores = [json.loads(body)["outputs"][0]["data"] for status, body in answers if status == 200]
    assert [row.index(max(row)) for row in scores] == greys


def test_a_client_that_goes_cancels_what_it_asked_and_waits_for_nobody(gateway: Any) -> None:
    name = 'collage_queries_rejected_total{why="cancelled"}'
    before = gateway.metrics()[name]
    with gateway.stopped_workers():
        with socket.create_connection((gateway.host, gateway.port)) as client:
            client.sendall(_infer(gateway, _tensor(2)) * 2)  # the second waits behind the first
            gateway.await_metric("collage_queries_in_flight", 1.0)
        gateway.await_metric(name, before + 1)
        gateway.await_metric("collage_queries_in_flight", 0.0)


def test_an_id_of_the_clients_own_comes_back(gateway: Any) -> None:
    body = _tensor(5)
    status, _, headers = gateway.ask("POST", "/v2/models/greys/infer", body, {"X-Request-Id": "mine"})
    assert (status, headers["x-request-id"]) == (200, "mine")
    status, _, headers = gateway.ask("POST", "/v2/models/greys/infer", body)
    assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_departure_cancels_only_what_is_inside(when: str) -> None:
    async def scenario() -> str:
        departure = Departure()
        if when == "before":
            departure.tell()
        with departure:
            if when == "during":
                asyncio.get_running_loop().call_soon(departure.tell)
                await asyncio.Event().wait()
        departure.tell()
        await asyncio.sleep(0)
        return "went on"

    if when == "after":
        assert asyncio.run(scenario()) == "went on"
    else:
        with pytest.raises(ClientDisconnect):
            asyncio.run(scenario())


def test_a_cancellation_by_others_stays_one() -> None:
    async def scenario() -> None:
        async def work() -> None:
            with Departure():
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


def test_latencies_are_a_histogram() -> None:
    latencies, registry = Latencies(), CollectorRegistry()
    registry.register(latencies)
    for seconds in (0.001, 0.0011, 500.0):  # on an edge, above it, above all
        latencies.add(("m", "1", "single"), seconds)
    text = generate_latest(registry).decode()
    series = 'collage_query_latency_seconds_bucket{le="%s",model="m",source="single",version="1"}'
    assert series % "0.001" + " 1.0" in text
    assert series % "0.001167" + " 2.0" in text
    assert series % "+Inf" + " 3.0" in text
    assert 'collage_query_latency_seconds_count{model="m",source="single",version="1"} 3.0' in text
    latencies.remove("m", "1")
    assert "_bucket" not in generate_latest(registry).decode()
