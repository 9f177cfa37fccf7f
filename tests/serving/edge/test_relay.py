"""Real relays before a real gateway and a real collage-cnn's server, over real sockets."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from collage.client import Client
from collage.serving import load_settings
from collage.serving.edge import _relay, make_edge_settings

from ...waiting import wait_until

Start = Callable[..., str]


def png(level: float) -> bytes:
    """A grey file: level 0..9 names a class; half-way between two, nobody is sure."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64), round(level * 255 / 9), np.uint8)).save(file, "PNG")
    return file.getvalue()


def await_ready(url: str) -> None:
    wait_until(lambda: httpx.get(f"{url}/v2/health/ready").status_code == 200, f"{url} is ready")


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts `collage edge WORDS` and gives its URL, as soon as it is ready where it can be."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: str, ready: bool = True) -> str:
        command = [sys.executable, "-c", "from collage.cli import main; main()", "edge", *words, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, line
        url = "http://" + line.partition("http://")[2].split(",")[0].split()[0]
        if ready:
            await_ready(url)
        return url

    yield begin
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert process.wait() == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def collage_url(start: Start, models: dict[str, Path]) -> str:
    return start("model", str(models["collage"]))


@pytest.fixture(scope="module")
def gateway(start_gateway: Any) -> Any:
    """Without backups, lest it answers a late query of the relay's with a collage of its own."""
    return start_gateway(policy="none")


@pytest.fixture(scope="module")
def first(start: Start, gateway: Any, collage_url: str) -> str:
    words = ["--mode", "collage-first", "--threshold", "0.55", "--window", "0.3"]
    return start("relay", "--upstream", gateway.url, "--collage", collage_url, *words)


def ask(url: str, file: bytes, **query: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/classify", params=query, content=file, timeout=60)


def counts(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/v1/edge").json()
    return found


def test_all_sends_every_image_and_no_collage(start: Start, gateway: Any) -> None:
    url = start("relay", "--upstream", gateway.url, "--mode", "all")
    files = [png(level) for level in (0, 4, 9)]
    said = [ask(url, file).json() for file in files]
    assert [(one["label"], one["source"], one["degraded"]) for one in said] == [
        (name, "single", False) for name in ("g0", "g4", "g9")
    ]
    found = counts(url)
    assert found["calls_up"] == {"full": 3}
    assert found["bytes_up"] == {"full": sum(map(len, files))}
    assert found["answers"] == {"single": 3}


def test_the_collage_first_answers_what_it_is_sure_of_and_the_rest_is_sent(first: str) -> None:
    before = counts(first)
    with ThreadPoolExecutor(9) as pool:
        levels = [0, 1, 2, 3, 4.5, 6, 7, 8, 9]
        said = [response.json() for response in pool.map(lambda level: ask(first, png(level)), levels)]
    sources = [one["source"] for one in said]
    assert sources == ["collage"] * 4 + ["single"] + ["collage"] * 4
    assert [one["degraded"] for one in said] == [source == "collage" for source in sources]
    assert [one["label"] for one in said if one["source"] == "collage"] == [
        "g0",
        "g1",
        "g2",
        "g3",
        "g6",
        "g7",
        "g8",
        "g9",
    ]
    after = counts(first)
    assert after["calls_up"]["full"] - before["calls_up"].get("full", 0) == 1
    assert 0 < after["bytes_up"]["collage"] - before["bytes_up"].get("collage", 0) < 9 * len(png(0)) * 9


def test_who_refuses_degraded_answers_gets_the_single(first: str) -> None:
    said = ask(first, png(3), accept_degraded="false").json()
    assert (said["label"], said["source"]) == ("g3", "single")


def test_cameras_may_speak_the_protocol(first: str) -> None:
    with Client(first) as camera:
        assert camera.ready()
        answer = camera.classify(png(5))
        assert (answer.label, answer.source, answer.degraded) == ("g5", "collage", True)
        pixels = np.full((20, 20), 255, np.uint8)
        assert [each.label for each in camera.classify_many([png(2), pixels])] == ["g2", "g9"]


@pytest.mark.parametrize(
    ("file", "query", "status", "said"),
    [
        (b"no image", {}, 400, "image: not a JPEG"),
        (png(1), {"deadline_ms": "x"}, 400, "deadline_ms"),
        (png(1)[:60], {}, 400, "image"),
    ],
)
def test_bad_input_is_refused_at_the_edge(
    first: str, file: bytes, query: dict[str, str], status: int, said: str
) -> None:
    before = counts(first)["calls_up"]
    response = ask(first, file, **query)
    assert (response.status_code, said in response.json()["error"]) == (status, True)
    assert counts(first)["calls_up"] == before


def test_beside_answers_by_the_tile_where_the_full_image_is_late(
    start: Start, start_gateway: Any, collage_url: str
) -> None:
    slow = start_gateway(hold=3.0, workers=1, policy="none")
    words = ["--mode", "beside", "--patience", "0.2", "--uploads", "1"]
    url = start("relay", "--upstream", slow.url, "--collage", collage_url, *words)
    with ThreadPoolExecutor(4) as pool:
        said = [each.json() for each in pool.map(lambda level: ask(url, png(level)), (1, 3, 5, 7))]
    assert [(one["label"], one["source"]) for one in said] == [(f"g{n}", "collage") for n in (1, 3, 5, 7)]
    assert counts(url)["calls_up"]["full"] == 1  # the others were answered before their turn


def test_an_uplink_that_is_down_is_said_and_may_come_and_go(start: Start, start_gateway: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = start("relay", "--upstream", f"http://127.0.0.1:{port}", "--mode", "all", ready=False)
    assert httpx.get(f"{url}/v2/health/ready").status_code == 503
    response = ask(url, png(1))
    assert response.status_code == 503
    assert "uplink" in response.json()["error"]
    assert int(response.headers["Retry-After"]) >= 1
    gateway = start_gateway(workers=1, policy="none", port=port)
    await_ready(url)
    assert ask(url, png(2)).json()["label"] == "g2"
    gateway.stop()
    response = ask(url, png(2))
    assert response.status_code == 503
    assert "down" in response.json()["error"]
    assert httpx.get(f"{url}/v2/health/ready").status_code == 503


def test_an_edge_looks_again_whatever_it_was_told(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers as a collage-cnn's server may be none, and be one a moment later."""
    monkeypatch.setattr(_relay, "_LOOK_SECONDS", 0.0)

    async def main() -> None:
        asked, thrice = 0, asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            while head := await reader.readuntil(b"\r\n\r\n"):  # ends by an error, with its connection
                if head.startswith(b"POST"):
                    await reader.readexactly(2)
                    body = b'[{"name":"x"}]'
                else:
                    body, asked = b'{"parameters":null}', asked + 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                if asked == 3:
                    thrice.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        relay = _relay.Relay(make_edge_settings(upstream=gateway.url, collage=url), load_settings())
        await relay.start()
        async with asyncio.timeout(60):
            await thrice.wait()
        await relay.stop()
        server.close()

    asyncio.run(main())


def test_the_collages_server_refuses_what_is_no_canvas(collage_url: str, models: dict[str, Path]) -> None:
    infer = f"{collage_url}/v2/models/greys-3x3/infer"
    assert httpx.get(f"{collage_url}/v2/models/other").status_code == 404
    assert (
        "canvas" in httpx.post(infer, content=b"{}", headers={"Inference-Header-Content-Length": "2"}).json()["error"]
    )
    file = png(1)
    data = len(file).to_bytes(4, "little") + file
    head = b'{"inputs":[{"name":"canvas","datatype":"BYTES","shape":[1]}]}'
    said = httpx.post(infer, content=head + data, headers={"Inference-Header-Content-Length": str(len(head))})
    assert (said.status_code, "24 x 24 is needed" in said.json()["error"]) == (400, True)


def test_settings_that_make_no_sense_are_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "from collage.cli import main; main()", "edge", "relay", "--upstream", "http://x"]
    done = subprocess.run([*command, "--mode", "beside"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "collage: the URL" in done.stderr
    assert "Traceback" not in done.stderr
