"""What no client should send. Each gets a 4xx that names it, and its neighbours are answered as if it never came."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

INFER = "/v2/models/greys/infer"


@pytest.fixture(autouse=True)
def neighbours(gateway: Any, png: Any) -> Iterator[None]:
    """Two well-behaved clients, asking all the time; every answer must be there and right."""
    over, wrong, right = threading.Event(), [], []

    def ask() -> None:
        for index in itertools.cycle(range(10)):
            status, answer, _ = gateway.ask("POST", "/v1/classify", png(index))
            (right if status == 200 and answer["label"] == f"g{index}" else wrong).append((status, answer))
            if over.is_set():
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(right) >= 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _vast_png() -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"", 400, "0 bytes"),
        (b"hello, I am a picture", 400, "not a JPEG, PNG or WebP file"),
        (b"\x89PNG\r\n\x1a\n", 400, "damaged"),
        (b"\xff\xd8\xff" + b"\0" * 100, 400, "damaged"),
        (_vast_png(), 413, "60000 x 60000 pixels"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 600_000, 413, "600,008 bytes"),
        (b"x" * 1_000_001, 413, "body: 1,000,001 bytes"),
    ],
    ids=["empty", "text", "png-signature", "jpeg-signature", "vast", "large-image", "large-body"],
)
def test_a_body_that_is_no_usable_image(gateway: Any, body: bytes, status: int, named: str) -> None:
    found, answer, _ = gateway.ask("POST", "/v1/classify", body)
    assert (found, named in answer["error"]) == (status, True), answer


def test_a_truncated_image(gateway: Any, png: Any) -> None:
    status, answer, _ = gateway.ask("POST", "/v1/classify", png(3)[:45])
    assert (status, "truncated or damaged" in answer["error"]) == (400, True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_tensor_that_is_not_finite(gateway: Any, value: float) -> None:
    tensor = np.zeros((3, 1, 8, 8), np.float32)
    tensor[1, 0, 4, 4] = value
    head = {"name": "images", "datatype": "FP32", "shape": [3, 1, 8, 8], "parameters": {"binary_data_size": 768}}
    status, answer, _ = _infer(gateway, {"inputs": [head]}, tensor.tobytes())
    assert status == 400
    assert "NaN or infinite" in answer["error"]
    assert "[1]" in answer["error"].partition(":")[0]  # which image


def test_one_bad_image_of_several_is_named(gateway: Any, png: Any) -> None:
    files = [png(1), b"nothing", png(2)]
    tail = b"".join(struct.pack("<I", len(file)) + file for file in files)
    head = {"name": "images", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(tail)}}
    status, answer, _ = _infer(gateway, {"inputs": [head]}, tail)
    assert status == 400
    assert "[1]" in answer["error"]
    assert "not a JPEG" in answer["error"]


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"datatype": "INT64"}, 400, "inputs[0].datatype"),
        ({"shape": [1, 1, 9, 8]}, 400, "inputs[0].shape"),
        ({"shape": [17, 1, 8, 8]}, 413, "inputs[0].shape: 17 images; at most 16"),
        ({"name": "pictures"}, 400, "inputs[0].name"),
        ({"data": [0.0] * 63}, 400, "inputs[0].data"),
        ({"data": ["a"] * 64}, 400, "inputs[0].data"),
        ({"data": [1e300] * 64}, 400, "NaN or infinite"),
        ({"data": [-1e38] * 64}, 400, "beyond ±1,000,000"),
    ],
)
def test_a_tensor_that_does_not_fit(gateway: Any, change: dict[str, Any], status: int, named: str) -> None:
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.0] * 64} | change
    found, answer, _ = _infer(gateway, {"inputs": [tensor]})
    assert (found, named in answer["error"]) == (status, True), answer


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": [NaN]}', b"[" * 200_000, b"\xff" * 50, b"[1]"])
def test_broken_json(gateway: Any, body: bytes) -> None:
    status, answer, _ = gateway.ask("POST", INFER, body)
    assert (status, answer["error"].startswith("body: ")) == (400, True)


@pytest.mark.parametrize("length", ["-5", "100000", "0", "x", "1" * 400])
def test_a_lying_header_length(gateway: Any, length: str) -> None:
    status, answer, _ = gateway.ask("POST", INFER, b"{}", {"Inference-Header-Content-Length": length})
    assert (status, answer["error"].startswith("Inference-Header-Content-Length: ")) == (400, True)


@pytest.mark.parametrize("size", [255, 257, 2**40, -1])
def test_a_lying_binary_size(gateway: Any, size: int) -> None:
    head = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "parameters": {"binary_data_size": size}}
    status, answer, _ = _infer(gateway, {"inputs": [head]}, bytes(256))
    assert (status, "binary_data_size" in answer["error"]) == (400, True)


def test_a_compressed_body(gateway: Any) -> None:
    status, answer, _ = gateway.ask("POST", INFER, b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert (status, answer["error"].startswith("Content-Encoding: 'gzip'")) == (415, True)


def test_a_negative_deadline(gateway: Any) -> None:
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.0] * 64}
    status, answer, _ = _infer(gateway, {"inputs": [tensor], "parameters": {"deadline_ms": -1}})
    assert (status, answer["error"].startswith("parameters.deadline_ms: -1")) == (400, True)


def test_an_endless_chunked_body_is_refused_at_the_limit(gateway: Any) -> None:
    with _raw(gateway) as connection:
        connection.sendall(_head("/v1/classify", "Transfer-Encoding: chunked"))
        chunk = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
        for _ in range(21):  # 1,050,000 bytes, and no end
            connection.sendall(chunk)
        status, answer = _response(connection)
    assert (status, answer) == (413, {"error": "body: more than 1,000,000 bytes"})


def test_a_body_announced_too_large_is_refused_before_it_comes(gateway: Any) -> None:
    with _raw(gateway) as connection:
        connection.sendall(_head("/v1/classify", "Content-Length: 99999999999", "Expect: 100-continue"))
        status, answer = _response(connection)
        assert (status, answer["error"].startswith("body: 99,999,999,999 bytes")) == (413, True)
        assert connection.recv(1) == b""  # and the connection does not wait for it for ever


def test_a_slow_body_times_out(gateway: Any) -> None:
    with _raw(gateway) as connection:
        connection.sendall(_head("/v1/classify", "Content-Length: 100") + b"x")
        status, answer = _response(connection)
    assert (status, answer) == (408, {"error": "body: not complete within 1 s"})


@pytest.mark.parametrize("start", [b"", b"POST /v1/cl", b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n"])
def test_a_slow_head_times_out(gateway: Any, start: bytes) -> None:
    with _raw(gateway) as connection:
        connection.sendall(start)
        assert connection.recv(1) == b""


def test_an_endless_head_is_cut_off(gateway: Any) -> None:
    with _raw(gateway) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        lines = (b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in itertools.count())
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            deque(map(connection.sendall, lines), maxlen=0)


@pytest.mark.parametrize(
    "bytes_sent",
    [b"\0" * 100, b"GARBAGE\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_what_is_no_http_is_refused(gateway: Any, bytes_sent: bytes) -> None:
    with _raw(gateway) as connection:
        connection.sendall(bytes_sent)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_two_requests_in_one_packet_are_both_answered(gateway: Any, png: Any) -> None:
    with _raw(gateway) as connection:
        requests = [_head("/v1/classify", f"Content-Length: {len(png(n))}") + png(n) for n in (2, 8)]
        connection.sendall(b"".join(requests))
        with connection.makefile("rb") as stream:
            assert [_response_from(stream)[1]["label"] for _ in requests] == ["g2", "g8"]


def test_a_hundred_requests_at_once_are_answered_in_their_order(gateway: Any, png: Any) -> None:
    with _raw(gateway) as connection:
        wanted = [number % 10 for number in range(100)]
        requests = [_head("/v1/classify", f"Content-Length: {len(png(n))}") + png(n) for n in wanted]
        connection.sendall(b"".join(requests))
        with connection.makefile("rb") as stream:
            assert [_response_from(stream)[1]["label"] for _ in wanted] == [f"g{number}" for number in wanted]


def test_a_body_that_comes_a_chunk_at_a_time_times_out(gateway: Any) -> None:
    with _raw(gateway) as connection:
        connection.sendall(_head("/v1/classify", "Transfer-Encoding: chunked"))
        connection.settimeout(0.05)
        said = b""
        while b"\r\n\r\n" not in said:
            connection.sendall(b"1\r\nx\r\n")
            with contextlib.suppress(TimeoutError):
                said += connection.recv(4096)
    assert said.startswith(b"HTTP/1.1 408")


def test_text_in_a_png_that_becomes_far_larger_is_refused(gateway: Any, png: Any) -> None:
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    data = png(3)
    status, answer, _ = gateway.ask("POST", "/v1/classify", data[:33] + text + data[33:])
    assert (status, "damaged" in answer["error"]) == (400, True)


def _infer(gateway: Any, request: object, tail: bytes = b"") -> tuple[int, Any, Any]:
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if tail else {}
    return gateway.ask("POST", INFER, head + tail, headers)  # type: ignore[no-any-return]


def _raw(gateway: Any) -> socket.socket:
    return socket.create_connection((gateway.host, gateway.port), timeout=60)


def _head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def _response(connection: socket.socket) -> tuple[int, Any]:
    with connection.makefile("rb") as stream:
        return _response_from(stream)


def _response_from(stream: Any) -> tuple[int, Any]:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status, json.loads(stream.read(length))
