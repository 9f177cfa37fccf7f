"""`collage demo` as a command, with the shipped models and samples."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest


@contextlib.contextmanager
def _demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")}
    with subprocess.Popen(
        [sys.executable, "-c", "from collage.cli import main; main()", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"COLUMNS": "120", "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    """The line with these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return line
    pytest.fail(f"the demo ended before {words!r}: {said} {process.communicate()[1]}")


def _url(line: str) -> str:
    return next(word for word in line.split() if word.startswith("http://"))


def _get(url: str, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def test_once_shows_an_answer_from_the_collage_and_a_table() -> None:
    with _demo("--once", "--port", "0") as process:
        said, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    lines = said.splitlines()
    assert any("The first page is at http://127.0.0.1:" in line for line in lines)
    straggles = next(number for number, line in enumerate(lines) if "straggles: its jobs take" in line)
    assert "-> " in lines[straggles + 1]
    assert " collage " in lines[straggles + 1]
    assert "Its single is still running on the straggler." in lines[straggles + 2]
    rows = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert rows[:3] == [
        "no straggler",
        "straggler, a backup's answer refused",
        "straggler, a backup's answer taken",
    ]
    assert sum(line.count(" right ") for line in lines) > sum(line.count(" wrong ") for line in lines)


def test_it_keeps_serving_until_ctrl_c() -> None:
    with _demo("--port", "0") as process:
        url = _url(_read_until(process, "Visitors keep coming"))
        assert _get(url, "/")[0] == 200
        status = json.loads(_get(url, "/v1/status")[1])
        assert (status["ready"], status["demo"]) == (True, True)
        assert (status["single"], status["backup"]) == ("fashion-mnist-single", "fashion-mnist-collage-3x3")
        assert status["collage"] is not None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_ctrl_c_ends_it_in_the_middle() -> None:
    with _demo("--port", "0") as process:
        _read_until(process, "visitors send an image each")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, _demo("--port", str(taken.getsockname()[1])) as process:
        _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith("collage: port: 127.0.0.1:")
    assert errors.count("\n") == 1
