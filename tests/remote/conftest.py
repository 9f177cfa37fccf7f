"""Real MLServers, in an environment and in processes of their own, with the shipped models of Fashion-MNIST."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collage.zoo import LoadedModel, load_model, open_session

HERE = Path(__file__).parent
SINGLE, COLLAGE = "fashion-mnist-single", "fashion-mnist-collage-3x3"


class MlServer:
    """One server process; `start` may be called again after its end, and takes the same ports."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self.http_port, self.grpc_port, metrics = _free_ports(3)
        settings = {
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "metrics_port": metrics,
            "host": "127.0.0.1",
            "parallel_workers": 0,
            "debug": False,
        }
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps(settings))
        for name in (SINGLE, COLLAGE):
            (folder / name).mkdir()
            (folder / name / "model-settings.json").write_text(json.dumps(_model_settings(load_model(name))))

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.grpc_port if scheme == 'grpc' else self.http_port}"

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COLLAGE"))}
        environment |= {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._python, "-m", "mlserver.cli.main", "start", self._folder],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """The test's own timeout is the limit."""
        while True:
            try:
                with urllib.request.urlopen(f"{self.url('http')}/v2/health/ready", timeout=5) as response:
                    if response.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, (self._folder / "log").read_text()[-3000:]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _model_settings(model: LoadedModel) -> dict[str, Any]:
    session = open_session(model.path)

    def tensors(nodes: Any) -> list[dict[str, Any]]:
        return [
            {"name": node.name, "datatype": "FP32", "shape": [s if isinstance(s, int) else -1 for s in node.shape]}
            for node in nodes
        ]

    return {
        "name": model.card.name,
        "implementation": "onnx_runtime.OnnxModel",
        "parameters": {"uri": str(model.path), "version": model.card.version},
        "inputs": tensors(session.get_inputs()),
        "outputs": tensors(session.get_outputs()),
    }


@pytest.fixture(scope="session")
def environment() -> Path:
    """The virtual environment of others."""
    environment = Path(os.environ.get("COLLAGE_MLSERVER", ".venv-mlserver")).absolute()
    if not (environment / "bin" / "mlserver").exists():
        pytest.skip("no MLServer: tests/remote/make-mlserver.sh makes an environment for it")
    return environment


@pytest.fixture(scope="session")
def mlservers(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[MlServer]]:
    """Two of them, ready."""
    root = tmp_path_factory.mktemp("mlserver")
    servers = [MlServer(environment / "bin" / "python", root / name) for name in "ab"]
    for server in servers:
        server.start()
    try:
        for server in servers:
            server.await_ready()
        yield servers
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def samples() -> list[bytes]:
    """Files of the shipped images."""
    import collage.zoo

    folder = Path(collage.zoo.__file__).parent / "samples" / "fashion-mnist"
    return [path.read_bytes() for path in sorted(folder.glob("*/*.png"))][:12]
