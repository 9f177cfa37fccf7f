"""Real gateways in processes of their own, with real workers, on models whose right answer is known.

The single reads the mean grey of an 8 x 8 image off the pixels and names the nearest of ten greys, "g0" to "g9"; its
backup does so for each tile of a 3 x 3 collage. So every answer can be checked, whichever job gave it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from ..waiting import wait_until

SIDE = 8
CLASSES = [f"g{index}" for index in range(10)]

_SERVE_HELD = """
import json, sys
from collage.serving import DataPlane, load_settings, serve
settings = load_settings(**json.loads(sys.argv[1]))
seconds = float(sys.argv[2])
plane = DataPlane(settings, hold=lambda *_: seconds)
if len(sys.argv) > 3:
    seen = open(sys.argv[3], "w", buffering=1)
    def write(collage):
        means = collage.canvas[0].reshape(3, 8, 3, 8).mean(axis=(1, 3)).ravel()
        print([round(float(mean) * 9) for mean, tile in zip(means, collage.tiles) if tile], file=seen)
    plane.on_collage.append(write)
serve(
    settings,
    lambda url: print("Serving at", url, flush=True),
    plane=plane,
    on_grpc=lambda address: print("gRPC at", address, flush=True),
)
"""


_OF_MODEL = re.compile(r'(?<=[{,])(?:model|version)="[^"]*",?')


class Gateway:
    """A gateway process."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Serving at " in line:
                self.url = line.partition("Serving at ")[2].split()[0]
                break
        else:
            _, errors = self.process.communicate()
            pytest.fail(f"the gateway did not start: {said} {errors}")
        self.grpc = said.partition("gRPC at ")[2].partition("\n")[0]
        self.address = self.url.partition("://")[2]
        host, _, port = self.address.partition(":")
        self.host, self.port = host, int(port)

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (parsed where it is JSON) and headers of one request."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content, kind = response.read(), response.headers.get("content-type", "")
            sent = {name.lower(): value for name, value in response.getheaders()}
            return response.status, json.loads(content) if "json" in kind else content, sent

    def metrics(self) -> dict[str, float]:
        """Every sample at /metrics by its name and labels; of all models and their versions together."""
        _, text, _ = self.ask("GET", "/metrics")
        found: dict[str, float] = {}
        for line in text.decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = _OF_MODEL.sub("", name).replace("{}", "").replace(",}", "}")
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def await_metric(self, name: str, value: float) -> None:
        """Returns once the metric has the value."""
        wait_until(lambda: self.metrics().get(name) == value, f"{name} is {value}")

    def await_no_longer_ready(self) -> None:
        """Returns once a signal has come: it drains, or will in a moment."""
        wait_until(lambda: self.ask("GET", "/v2/health/ready")[0] == 503, "it is no longer ready")

    def worker_pids(self) -> list[int]:
        """The worker processes."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]

    @contextlib.contextmanager
    def stopped_workers(self) -> Iterator[None]:
        """No worker gets anything done inside."""
        pids = self.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def stop(self) -> tuple[int, str]:
        """Exit status after SIGTERM, and what it wrote to stderr."""
        self.process.terminate()
        _, errors = self.process.communicate()
        return self.process.returncode, errors


StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of the cards of "single" and "collage"."""
    folder = tmp_path_factory.mktemp("models")
    levels = np.arange(10, dtype=np.float32) / 9
    # -(mean - level)^2, without the part that all classes share, times 100: a line per class, highest at its own level.
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 10], 200 * levels)
    bias = helper.make_tensor("b", TensorProto.FLOAT, [10], -100 * levels**2)

    def save(name: str, grid: int, single: str | None) -> str:
        side, tiles = SIDE * grid, grid * grid
        shape = helper.make_tensor(
            "shape", TensorProto.INT64, [3] if grid > 1 else [2], [-1, tiles, 1] if grid > 1 else [-1, 1]
        )
        graph = helper.make_graph(
            [
                helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[SIDE, SIDE], strides=[SIDE, SIDE]),
                helper.make_node("Reshape", ["means", "shape"], ["column"]),
                helper.make_node("MatMul", ["column", "w"], ["scaled"]),
                helper.make_node("Add", ["scaled", "b"], ["logits"]),
            ],
            name,
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", tiles, 10] if grid > 1 else ["n", 10])],
            [weights, bias, shape],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        data = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        card = {
            "name": name,
            "version": "3",
            "role": "single" if grid == 1 else "collage",
            "file": f"{name}.onnx",
            "sha256": digest,
            "preprocessing": {"size": SIDE, "channels": 1, "mean": [0.0], "std": [1.0]},
            "classes": CLASSES,
            "grid": None if grid == 1 else grid,
            "single_sha256": single,
        }
        (folder / f"{name}.json").write_text(json.dumps(card))
        return digest

    digest = save("greys", 1, None)
    save("greys-3x3", 3, digest)
    onnx.checker.check_model(onnx.load(folder / "greys-3x3.onnx"))
    return {"single": folder / "greys.json", "collage": folder / "greys-3x3.json"}


@pytest.fixture(scope="session")
def start_gateway(models: dict[str, Path]) -> Iterator[StartGateway]:
    """Starts gateways; `hold`: seconds for which a worker holds every job; `seen`: a file for what lies in each collage
    that comes back, a JSON list of its tiles' classes a line (with `hold` only). All end with the tests.
    """
    started: list[Gateway] = []

    def start(*, hold: float | None = None, seen: Path | None = None, **settings: object) -> Gateway:
        settings = {
            "single": str(models["single"]),
            "backup": str(models["collage"]),
            "policy": "collage",
            "port": 0,
            **({} if "fleet" in settings else {"workers": 2}),
        } | settings
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")}
        if hold is None:
            command = [sys.executable, "-c", "from collage.cli import main; main()", "serve"]
            for name, value in settings.items():
                environment[f"COLLAGE_SERVE_{name.upper()}"] = (
                    json.dumps(value) if isinstance(value, (dict, list)) else str(value)
                )
        else:
            command = [sys.executable, "-c", _SERVE_HELD, json.dumps(settings), str(hold)]
            command += [] if seen is None else [str(seen)]
        gateway = Gateway(command, environment)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()
        for stream in (gateway.process.stdout, gateway.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def gateway(start_gateway: StartGateway) -> Gateway:
    """One gateway for all tests that leave it as they found it: started by the command, with small limits."""
    limits = {"max_body_bytes": 1_000_000, "max_image_bytes": 500_000, "head_seconds": 1.0, "body_seconds": 1.0}
    return start_gateway(max_images=16, max_queue=64, **limits)


@pytest.fixture(scope="session")
def grey() -> Callable[[int], NDArray[np.uint8]]:
    """Pixels (8, 8) of a class."""
    return lambda index: np.full((SIDE, SIDE), round(index * 255 / 9), np.uint8)


@pytest.fixture(scope="session")
def png(grey: Callable[[int], NDArray[np.uint8]]) -> Callable[[int], bytes]:
    """A PNG file of a class."""

    def make(index: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(grey(index)).save(file, "PNG")
        return file.getvalue()

    return make
