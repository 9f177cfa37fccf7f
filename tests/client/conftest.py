"""A real gateway with the shipped models, and a server that says whatever a test wants."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from collage.client import Client


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the gateway is; at most 8 images a request."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")}
    environment |= {"COLLAGE_SERVE_MAX_IMAGES": "8", "COLLAGE_SERVE_PORT": "0", "COLLAGE_SERVE_WORKERS": "1"}
    command = [sys.executable, "-c", "from collage.cli import main; main()", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "Serving at " in line)
        yield line.partition("Serving at ")[2].split()[0]
        process.terminate()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A client of the gateway."""
    with Client(url) as client:
        yield client


class Scripted:
    """An HTTP server with one answer for every POST to `infer`; what it was sent is kept."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                script.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(script.status)
                for name, value in script.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(script.body)))
                self.end_headers()
                self.wfile.write(script.body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """No more answers."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Such a server."""
    server = Scripted()
    yield server
    server.stop()
