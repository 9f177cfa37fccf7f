"""More than can be served, clients that go away, and a gateway that stops.

Workers are stopped by signal, so that nothing here depends on how long anything takes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any

IN_FLIGHT = "collage_queries_in_flight"


def _send(gateway: Any, png: Any, index: int) -> http.client.HTTPConnection:
    """A request whose answer is not waited for."""
    connection = gateway.connect()
    connection.request("POST", "/v1/classify?deadline_ms=60000", png(index))
    return connection  # type: ignore[no-any-return]


def _label(connection: http.client.HTTPConnection) -> str:
    with contextlib.closing(connection):
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return str(answer["label"])


def test_beyond_the_queue_there_is_a_503_with_retry_after(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(max_queue=3, max_images=3, workers=1)
    with gateway.stopped_workers():
        waiting = [_send(gateway, png, index) for index in range(3)]
        gateway.await_metric(IN_FLIGHT, 3)
        status, answer, headers = gateway.ask("POST", "/v1/classify", png(9))
        assert (status, "queries" in answer["error"]) == (503, True), answer
        assert int(headers["retry-after"]) >= 1
        assert gateway.ask("GET", "/v2/health/live")[0] == 200
    assert [_label(connection) for connection in waiting] == ["g0", "g1", "g2"]
    assert gateway.metrics()['collage_queries_rejected_total{why="unavailable"}'] == 1
    assert gateway.stop()[0] == 0


def test_a_client_that_goes_away_takes_its_queries_along(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(max_queue=64, workers=1)
    with gateway.stopped_workers():
        stays = _send(gateway, png, 6)
        gateway.await_metric(IN_FLIGHT, 1)
        goes = [_send(gateway, png, 7) for _ in range(3)]
        gateway.await_metric(IN_FLIGHT, 4)
        for connection in goes:
            connection.close()
        gateway.await_metric(IN_FLIGHT, 1)
        assert gateway.metrics()['collage_queries_rejected_total{why="cancelled"}'] == 3
    assert _label(stays) == "g6"
    assert gateway.stop()[0] == 0


def test_a_deadline_that_passes_is_a_504(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=1)
    with gateway.stopped_workers():
        status, answer, _ = gateway.ask("POST", "/v1/classify?deadline_ms=50", png(1))
    assert (status, "deadline" in answer["error"]) == (504, True)
    assert gateway.stop()[0] == 0


def test_sigterm_drains(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=2, drain_seconds=60)
    kept = gateway.connect()
    with gateway.stopped_workers():
        accepted = [_send(gateway, png, index) for index in range(4)]
        gateway.await_metric(IN_FLIGHT, 4)
        gateway.process.terminate()
        gateway.await_no_longer_ready()
        assert gateway.ask("GET", "/v2/models/greys/ready")[0] == 503
        assert gateway.ask("GET", "/v2/health/live")[0] == 200
        status, answer, headers = gateway.ask("POST", "/v1/classify", png(9))
        assert (status, "shutting down" in answer["error"], "retry-after" in headers) == (503, True, True)
    assert [_label(connection) for connection in accepted] == ["g0", "g1", "g2", "g3"]
    kept.close()
    assert gateway.process.wait() == 0


def test_what_is_left_after_the_drain_is_refused_and_the_exit_is_clean(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=1, drain_seconds=0.2)
    with gateway.stopped_workers():
        accepted = _send(gateway, png, 1)
        gateway.await_metric(IN_FLIGHT, 1)
        gateway.process.terminate()
        response = accepted.getresponse()
        assert (response.status, "error" in json.loads(response.read())) == (503, True)
        accepted.close()
        assert gateway.process.wait() == 0


def test_a_second_signal_does_not_wait(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=1, drain_seconds=600)
    with gateway.stopped_workers():
        accepted = _send(gateway, png, 1)
        gateway.await_metric(IN_FLIGHT, 1)
        gateway.process.terminate()
        gateway.await_no_longer_ready()
        gateway.process.terminate()
        assert gateway.process.wait() == 0
        accepted.close()


def test_too_many_bytes_at_once_are_refused(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(max_body_bytes=100_000, max_held_bytes=150_000, body_seconds=60)
    first = gateway.connect()
    first.putrequest("POST", "/v1/classify")
    first.putheader("Content-Length", "100000")
    first.endheaders(b"x" * 99_999)
    gateway.await_metric("collage_http_body_bytes", 99_999)
    status, answer, headers = gateway.ask("POST", "/v1/classify", b"x" * 100_000)
    assert (status, "too many bytes" in answer["error"], "retry-after" in headers) == (503, True, True)
    first.close()
    gateway.await_metric("collage_http_body_bytes", 0)
    assert gateway.ask("POST", "/v1/classify", png(5))[1]["label"] == "g5"
    assert gateway.stop()[0] == 0
