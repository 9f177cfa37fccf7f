"""A single and a 2x2 collage-cnn that read a picture's brightness: real ONNX models, right about flat grey pictures."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from selenium import webdriver

from collage.zoo import file_sha256

SIZE = 8
CLASSES = ("black", "dark", "light", "white")
_CENTRES = (-0.9, -0.4, 0.4, 0.9)  # of the classes, in normalised brightness; 0 is blank
_SHARPNESS = 100.0


def picture(label: str) -> bytes:
    """A PNG that the models call `label`."""
    level = round((_CENTRES[CLASSES.index(label)] + 1) / 2 * 255)
    buffer = io.BytesIO()
    Image.new("L", (SIZE, SIZE), level).save(buffer, "PNG")
    return buffer.getvalue()


def _write(folder: Path, grid: int, centres: tuple[float, ...], **card: object) -> Path:
    """Mean brightness m of each tile -> logits -(m - centre)^2 * sharpness, less what is the same for all."""
    name, side, tiles = str(card["name"]), grid * SIZE, grid * grid
    shape = [1, tiles, len(centres)] if grid > 1 else [1, len(centres)]
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[SIZE, SIZE], strides=[SIZE, SIZE]),
        helper.make_node("Reshape", ["pooled", "tiles"], ["means"]),
        helper.make_node("Mul", ["means", "slope"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "offset"], ["logits"]),
    ]
    weights = {
        "tiles": np.array([1, tiles, 1] if grid > 1 else [1, 1], np.int64),
        "slope": 2 * _SHARPNESS * np.array(centres, np.float32),
        "offset": _SHARPNESS * np.array(centres, np.float32) ** 2,
    }
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    preprocessing = {"size": SIZE, "channels": 1, "mean": [0.5], "std": [0.5]}
    content = {
        "file": path.name,
        "sha256": file_sha256(path),
        "classes": CLASSES,
        "preprocessing": preprocessing,
        "grid": grid if grid > 1 else None,
        **card,
    }
    path.with_suffix(".json").write_text(json.dumps(content))
    return path.with_suffix(".json")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The cards of the single and of its collage-cnn."""
    folder = tmp_path_factory.mktemp("models")
    single = _write(folder, 1, _CENTRES, name="brightness", role="single")
    sha256 = json.loads(single.read_text())["sha256"]
    backup = _write(
        folder, 2, (*_CENTRES, 0.0), name="brightness-2x2", role="collage", unknown=True, single_sha256=sha256
    )
    return single, backup


def second_model(models: tuple[Path, Path]) -> dict[str, object]:
    """A further model for a gateway to serve: the single alone, on one worker."""
    return {"name": "second", "single": str(models[0]), "backup": "none", "policy": "none", "workers": 1}


_SERVE = """
import json, sys
from collage.serving import DataPlane, load_settings, serve
from collage.serving._chronicle import Chronicle
settings = load_settings(**json.loads(sys.argv[1]))
Chronicle.interval = 0.5  # of the history: tests have no time for five seconds
hold = float(sys.argv[2])
serve(settings, lambda url: print(url, flush=True), plane=DataPlane(settings, hold=lambda *_: hold))
"""


class Gateway:
    """A gateway in a process of its own, whose workers hold each job for a while."""

    def __init__(self, settings: dict[str, object], hold: float) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(settings), str(hold)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the gateway did not start"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers (names in lower case) of one request."""
        with contextlib.closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
            return response.status, content, {name.lower(): value for name, value in response.getheaders()}

    def status(self) -> dict[str, Any]:
        """What /v1/status says."""
        return self.json("/v1/status")

    def json(self, path: str) -> dict[str, Any]:
        """What a path says, as JSON."""
        return cast("dict[str, Any]", json.loads(self.ask("GET", path)[1]))

    def classify(self, label: str) -> dict[str, Any]:
        """The answer for a picture of that label."""
        status, content, _ = self.ask("POST", "/v1/classify", picture(label))
        assert status == 200, content
        return cast("dict[str, Any]", json.loads(content))

    def stop(self) -> None:
        """As a supervisor does; again: nothing."""
        if self._process.returncode is None:
            self._process.terminate()
            self._process.communicate()


StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway(models: tuple[Path, Path]) -> Iterator[StartGateway]:
    """Starts gateways with the toy models; keywords are settings. They end with the test."""
    with starting(models) as start:
        yield start


@contextlib.contextmanager
def starting(models: tuple[Path, Path]) -> Iterator[StartGateway]:
    """For fixtures that live longer."""
    single, backup = models
    started: list[Gateway] = []

    def start(hold: float = 0.03, **settings: object) -> Gateway:
        usual = {"single": str(single), "backup": str(backup), "port": 0, "workers": 3, "policy": "collage"}
        gateway = Gateway({**usual, **settings}, hold)
        started.append(gateway)
        return gateway

    try:
        yield start
    finally:
        for gateway in started:
            gateway.stop()


@contextlib.contextmanager
def visited(gateway: Gateway) -> Iterator[Gateway]:
    """Three visitors send it pictures all the time."""
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            gateway.classify("white")

    threads = [threading.Thread(target=visit) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield gateway
    finally:
        over.set()
        for thread in threads:
            thread.join()


def text(browser: webdriver.Chrome, selector: str) -> str:
    """The text of the first such element, as a reader sees it; empty where there is none."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))
