"""The log of real gateways: a line for each request, nothing of what clients send, and nobody ever waits for it."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from collage.dispatch import Source, Start
from collage.oip import METHODS, SERVICE
from collage.serving.logs import RequestNotes, current_request
from collage.serving.logs._format import json_line, text_line
from collage.serving.logs._writer import LineWriter
from collage.serving.safety import digest, new_key

from ..waiting import wait_until

SECRET = "VerySecretBytes"
KEY, WRONG = new_key(), new_key()


def _jpeg(index: int) -> bytes:
    """With a remark in its EXIF and its comment; Pillow's own log tells of EXIF."""
    exif = Image.Exif()
    exif[0x010E] = SECRET
    file = io.BytesIO()
    Image.new("L", (8, 8), round(index * 255 / 9)).save(file, "JPEG", exif=exif, comment=SECRET.encode())
    return file.getvalue()


def _oip(images: list[bytes], **more: Any) -> bytes:
    data = [base64.b64encode(image).decode() for image in images]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [len(images)], "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


def _grpc_infer(address: str, data: bytes, metadata: dict[str, str], **more: Any) -> tuple[str, dict[str, str]]:
    """Its status, and the trailing metadata."""
    method = METHODS["ModelInfer"]
    request = method.request(model_name="greys", **more)
    request.inputs.add(name="images", datatype="BYTES", shape=[1]).contents.bytes_contents.append(data)
    with grpc.insecure_channel(address) as channel:
        path = f"/{SERVICE}/ModelInfer"
        call = channel.unary_unary(path, method.request.SerializeToString, method.response.FromString)
        future = call.future(request, metadata=list(metadata.items()))
        error = future.exception()
        return (error or future).code().name, dict(future.trailing_metadata())


@pytest.fixture(scope="module")
def told(start_gateway: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str], str]:
    """What one gateway logged: its requests' lines by id; the ids that it gave, by question; and all that it wrote."""
    gateway = start_gateway(
        grpc_port=0,
        log_format="json",
        log_level="debug",
        max_image_bytes=100_000,
        tenants={"alice": {"keys": [digest(KEY)]}},
    )
    given: dict[str, str] = {}

    def ask(name: str, method: str, path: str, body: bytes | None = None, **headers: str) -> None:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        status, answer, got = gateway.ask(method, path, body, {"Authorization": f"Bearer {KEY}"} | sent)
        given[name] = got["x-request-id"]
        if name == "two":
            assert (status, answer["id"]) == (200, "from-the-body")

    image, infer = _jpeg(4), "/v2/models/greys/infer"
    ask("one", "POST", "/v1/classify", image, X_Request_Id="chosen by a client", X_Note=SECRET)
    ask("two", "POST", infer, _oip([image, _jpeg(7)], id="from-the-body"))
    ask("header wins", "POST", infer, _oip([image], id="from-the-body"), X_Request_Id="from-the-header")
    ask("no id", "POST", "/v1/classify", image)
    ask("id too long", "POST", "/v1/classify", image, X_Request_Id="x" * 201)
    ask("no image", "POST", "/v1/classify", SECRET.encode() * 5)
    ask("no picture", "POST", infer, _oip([image[:40] + SECRET.encode() * 5]))
    ask("no number", "POST", f"/v1/classify?top={SECRET}", image)
    ask("no path", "GET", f"/{SECRET}/{KEY}")
    ask("no model", "POST", f"/v2/models/{SECRET}/infer", _oip([image]))
    ask("wrong key", "POST", "/v1/classify", image, Authorization=f"Bearer {WRONG}")
    ask("too large", "POST", "/v1/classify", SECRET.encode() * 10_000)
    ask("health", "GET", "/v2/health/ready")
    key = {"authorization": f"Bearer {KEY}"}
    status, said = _grpc_infer(gateway.grpc, image, key | {"x-request-id": "by-grpc"})
    assert (status, said["x-request-id"]) == ("OK", "by-grpc")
    status, said = _grpc_infer(gateway.grpc, SECRET.encode(), key, id="in-the-message")
    assert (status, said["x-request-id"]) == ("INVALID_ARGUMENT", "in-the-message")
    status, said = _grpc_infer(gateway.grpc, image, {"x-api-key": WRONG})
    assert status == "UNAUTHENTICATED"
    given["gRPC, wrong key"] = said["x-request-id"]
    gateway.process.terminate()
    out, errors = gateway.process.communicate()
    assert gateway.process.returncode == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    access = [line for line in lines if line["logger"] == "collage.access"]
    assert len(access) == 16
    return {line["request"]: line for line in access}, given, out + errors


def test_a_request_is_a_line(told: Any) -> None:
    lines, given, _ = told
    line = lines["chosen by a client"]
    assert line.pop("time").endswith("Z")
    assert line.pop("ms") > 0
    assert line == {
        "level": "info",
        "logger": "collage.access",
        "message": "POST /v1/classify 200",
        "request": "chosen by a client",
        "transport": "http",
        "method": "POST",
        "route": "/v1/classify",
        "status": 200,
        "tenant": "alice",
        "queries": 1,
        "sources": {"single": 1},
    }
    two = lines["from-the-body"]
    assert (two["queries"], sum(two["sources"].values()), two["route"]) == (2, 2, "/v2/models/{model}/infer")
    assert lines[given["no path"]]["route"] == "other"
    assert lines[given["wrong key"]].keys().isdisjoint({"tenant", "queries", "sources"})
    assert {name: (lines[given[name]]["status"], lines[given[name]].get("why")) for name in given if name[:2] == "no"
            and name != "no id"} == {"no image": (400, "invalid"), "no picture": (400, "invalid"),
                                     "no number": (400, "invalid"), "no path": (404, None),
                                     "no model": (404, None)}  # fmt: skip
    assert lines[given["too large"]]["status"] == 413
    assert lines[given["health"]]["level"] == "debug"


def test_ids_are_the_clients_where_they_are_good(told: Any) -> None:
    lines, given, _ = told
    assert (given["one"], given["header wins"]) == ("chosen by a client", "from-the-header")
    assert given["two"] == "from-the-body"
    made = [given["no id"], given["id too long"], given["no image"]]
    assert len(set(made)) == 3
    assert all(len(one) == 16 and one in lines for one in made)


def test_grpc_calls_are_lines_too(told: Any) -> None:
    lines, given, _ = told
    line = lines["by-grpc"]
    assert (line["transport"], line["method"], line["status"]) == ("grpc", "ModelInfer", "OK")
    assert (line["tenant"], line["queries"], line["sources"]) == ("alice", 1, {"single": 1})
    assert (lines["in-the-message"]["status"], lines["in-the-message"]["why"]) == ("INVALID_ARGUMENT", "invalid")
    assert lines[given["gRPC, wrong key"]]["status"] == "UNAUTHENTICATED"


def test_no_image_key_or_header_is_logged(told: Any) -> None:
    written = told[2]
    encoded = [base64.b64encode(SECRET.encode() * 2)[at : at + 16].decode() for at in range(1, 17, 3)]
    for secret in (SECRET, KEY, WRONG, *encoded, base64.b64encode(_jpeg(4)).decode()[:24], "Bearer"):
        assert secret not in written
    assert "PIL" not in written


def test_a_log_that_nobody_reads_stops_nothing(start_gateway: Any, png: Callable[[int], bytes]) -> None:
    gateway = start_gateway(log_format="json")
    fcntl.fcntl(gateway.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
    lost, connection = "collage_log_lines_lost_total", gateway.connect()
    while gateway.metrics()[lost] == 0:  # the pipe and the queue are full then
        for _ in range(500):
            connection.request("GET", "/v2", headers={"X-Request-Id": "x" * 200})
            assert len(connection.getresponse().read()) > 0
    status, answer, _ = gateway.ask("POST", "/v1/classify", png(3))
    assert (status, answer["label"]) == (200, "g3")
    assert gateway.metrics()[lost] > 0
    gateway.process.terminate()
    assert gateway.process.wait() == 0
    connection.close()


def test_a_full_disk_costs_lines_only() -> None:
    with open("/dev/full", "wb", buffering=0) as disk:
        writer = LineWriter(disk.fileno())
        for _ in range(7):
            writer.put(b"lost\n")
        writer.close(60)
    assert writer.lost == 7


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Any) -> None:
    # In a process of its own, because the limit is on all files of a process.
    script = """
import os, resource, sys
from collage.serving.logs._writer import LineWriter
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
writer = LineWriter(file)
resource.setrlimit(resource.RLIMIT_FSIZE, (12, resource.RLIM_INFINITY))
writer._write([b"first\\n", b"second line\\n", b"third\\n"])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.put(b"fourth\\n")
writer.close(60)
print(writer.lost)
"""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert path.read_text() == "first\nsecond\nfourth\n"
    assert done.stdout == "2\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


def test_lines_that_nobody_takes_are_dropped_and_counted() -> None:
    reader, pipe = os.pipe()
    os.set_blocking(pipe, False)  # as another program that shares the terminal may want it
    writer = LineWriter(pipe, most_lines=10)
    big = b"x" * 200_000 + b"\n"  # more than a pipe holds
    writer.put(big)
    wait_until(lambda: not writer._lines, "the thread has it")
    for _ in range(15):
        writer.put(b"line\n")
    assert writer.lost == 5
    got = b""
    while len(got) < len(big) + 10 * len(b"line\n"):
        got += os.read(reader, 65536)
    writer.close(60)
    assert got == big + b"line\n" * 10
    os.close(reader)
    os.close(pipe)


def _record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("collage.test", logging.WARNING, "", 0, message, arguments, None)
    record.created = 1_700_000_000.5
    record.fields = fields
    return record


def test_a_text_line_stays_one_line_whatever_is_in_it() -> None:
    record = _record(
        "said %s", "a\n2026 INFO forged: \x1b[31m é", ms=1.5, request='x" status=200', sources={"single": 2}
    )
    assert text_line(record).decode() == (
        "2023-11-14T22:13:20.500Z WARNING collage.test: said a\\n2026 INFO forged: \\x1b[31m é"
        ' ms=1.5 request="x\\" status=200" sources=single:2\n'
    )


def test_whatever_is_logged_can_be_written() -> None:
    record = _record("a file %s", "\udcff", path="\udcff")
    assert b"\\udcff" in text_line(record)
    assert json.loads(json_line(record))["path"] == "\udcff"
    long = json.loads(json_line(_record("x" * 100_000)))
    assert len(long["message"]) < 3000


def test_lines_about_a_job_name_its_requests_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    from collage.codes import ReplicaCode
    from collage.imaging import Preprocessing
    from collage.serving._driver import Driver

    seen: list[RequestNotes | None] = []

    class Look(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(current_request.get())

    class Script:
        """Starts nothing at the first query, and both queries' singles at the second."""

        next_tick = None

        def submit(self, query: int, *_: object) -> list[Start]:
            return [Start(number, "a", Source.SINGLE, (number,)) for number in (1, 2)] if query == 2 else []

        def failed(self, *_: object) -> list[Start]:
            return []

    async def scenario() -> None:
        code = ReplicaCode(Preprocessing(size=2, channels=1, mean=(0.0,), std=(1.0,)), 3)
        driver = Driver(Script(), code)  # type: ignore[arg-type]
        for number in (1, 2):
            current_request.set(RequestNotes(f"request {number}"))
            driver.submit(np.zeros((number, 2, 2), np.float32))  # no engine: none can be started
        driver.close()

    look, logger = Look(), logging.getLogger("collage.serving")
    logger.addHandler(look)
    try:
        asyncio.run(scenario())
    finally:
        logger.removeHandler(look)
    assert [record.fields["requests"] for record in caplog.records] == [["request 1"], ["request 2"]]
    assert seen == [None, None]
