"""How each server is started, asked and read. Each runs in a process group of its own, and from its own environment."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from collage import __version__
from collage.bench._http import HttpAnswer, get, post
from collage.bench.gateway._settings import Server
from collage.zoo import LoadedModel, open_session

ENVIRONMENTS = "COLLAGE_RIVALS"  # the folder that `scripts/make-rival-servers.sh` makes
_RIVALS = Path(__file__).with_name("rivals")
HOST = "127.0.0.1"
_LENGTH_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Launch:
    """What starts a server and talks to it. settings: what a reader must know to judge it, in words."""

    command: Sequence[str]
    environment: dict[str, str]
    ready: bytes  # a request that is answered with 200 once queries are
    query: bytes  # a whole request
    scores: Callable[[HttpAnswer], NDArray[np.float32]]  # (classes,), out of an answer
    settings: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)  # to be written into its working folder


def environment_of(server: Server, folder: Path) -> Path | None:
    """The Python of a rival's environment; None where there is none."""
    python = folder / server.value / "bin" / "python"
    return python.absolute() if python.exists() else None


def version_of(server: Server, folder: Path) -> str:
    """The version that is installed there."""
    if server is Server.BARE:
        return _installed(Path(sys.prefix), "onnxruntime")
    if server in (Server.COLLAGE, Server.COLLAGE_NONE):
        return __version__
    return _installed(folder / server.value, {Server.RAY_SERVE: "ray"}.get(server, server.value))


def _installed(environment: Path, package: str) -> str:
    found = sorted(environment.glob(f"lib/python*/site-packages/{package}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").rpartition("-")[2] if found else "unknown"


def launch(
    server: Server,
    model: LoadedModel,
    backup: LoadedModel | None,
    image: NDArray[np.float32],
    *,
    workers: int,
    port: int,
    environments: Path,
) -> Launch:
    """The server at this port with the model. image: the query (1, C, H, W). Raises ValueError for `bare-onnxruntime`.

    backup: of `collage`.
    """
    if server is Server.COLLAGE_NONE:
        return _collage(model, None, image, workers, port)
    if server is Server.COLLAGE:
        return _collage(model, backup, image, workers, port)
    if server is Server.BARE:
        raise ValueError("nothing serves there")
    python = environments.absolute() / server.value / "bin" / "python"
    make = {Server.LITSERVE: _litserve, Server.MLSERVER: _mlserver, Server.RAY_SERVE: _ray}[server]
    return make(str(python), model, image, workers, port)


def _collage(
    model: LoadedModel, backup: LoadedModel | None, image: NDArray[np.float32], workers: int, port: int
) -> Launch:
    session = open_session(model.path)
    name = session.get_inputs()[0].name
    policy = "none" if backup is None else "collage"
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": list(image.shape),
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": image.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    flags = {
        "port": port,
        "single": _card(model),
        "backup": "none" if backup is None else _card(backup),
        "policy": policy,
        "workers": workers,
        "log-level": "warning",
    }
    program = "from collage.cli import main; main()"
    own = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_SERVE_")}
    return Launch(
        [
            sys.executable,
            "-P",
            "-c",
            program,
            "serve",
            *(part for n, v in flags.items() for part in (f"--{n}", str(v))),
        ],
        own,
        get("/v2/health/ready", HOST),
        post(f"/v2/models/{model.card.name}/infer", head + image.tobytes(), HOST, **{_LENGTH_HEADER: str(len(head))}),
        lambda answer: np.frombuffer(answer.body[-4 * len(model.card.classes) :], "<f4"),
        {
            "policy": policy,
            "workers": workers,
            "threads": 1,
            "log_level": "warning",
            "query": "Open Inference Protocol over HTTP, binary tensor data both ways",
        },
    )


def _card(model: LoadedModel) -> str:
    return str(model.path.with_suffix(".json"))


def _litserve(python: str, model: LoadedModel, image: NDArray[np.float32], workers: int, port: int) -> Launch:
    body = orjson.dumps({"data": base64.b64encode(image.tobytes()).decode(), "shape": list(image.shape)})
    return Launch(
        [python, str(_RIVALS / "litserve_app.py"), str(model.path), str(port), str(workers)],
        _clean({"OMP_NUM_THREADS": "1"}),
        get("/health", HOST),
        post("/predict", body, HOST, Content_Type="application/json"),
        lambda answer: np.asarray(orjson.loads(answer.body)["scores"], np.float32),
        {
            "devices": 1,
            "workers_per_device": workers,
            "num_api_servers": f"{workers}, its default: as many as workers",
            "fast_queue": True,
            "log_level": "warning",
            "threads": 1,
            "query": "JSON, the tensor as base64",
        },
    )


def _mlserver(python: str, model: LoadedModel, image: NDArray[np.float32], workers: int, port: int) -> Launch:
    data = base64.b64encode(image.tobytes()).decode()
    tensor = {
        "name": "images",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [data],
    }
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": workers,
        "debug": False,
    }
    own = {"name": "model", "implementation": "mlserver_model.Onnx", "parameters": {"uri": str(model.path)}}
    return Launch(
        [python, "-m", "mlserver.cli.main", "start", "."],
        _clean({"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_RIVALS)}),
        get("/v2/models/model/ready", HOST),
        post("/v2/models/model/infer", orjson.dumps({"inputs": [tensor]}), HOST, Content_Type="application/json"),
        lambda answer: np.asarray(orjson.loads(answer.body)["outputs"][0]["data"], np.float32),
        {
            "parallel_workers": workers,
            "debug": False,
            "runtime": "a custom one, ONNX Runtime with one thread",
            "query": "Open Inference Protocol over HTTP in JSON, the tensor as base64",
        },
        {"settings.json": json.dumps(settings), "model-settings.json": json.dumps(own)},
    )


def _ray(python: str, model: LoadedModel, image: NDArray[np.float32], workers: int, port: int) -> Launch:
    fast = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(port + 1),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(port + 2),
    }
    return Launch(
        [python, str(_RIVALS / "ray_app.py"), str(model.path), str(port), str(workers)],
        _clean(fast | quiet),
        post("/predict", image.tobytes(), HOST),
        post("/predict", image.tobytes(), HOST),
        lambda answer: np.frombuffer(answer.body, "<f4"),
        {
            **fast,
            "num_replicas": workers,
            "num_cpus": 1,
            "max_ongoing_requests": 100,
            "access_log": False,
            "threads": 1,
            "query": "raw bytes of the tensor, both ways",
        },
    )


def _clean(more: dict[str, str]) -> dict[str, str]:
    """This environment without what belongs to this Python."""
    left = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COLLAGE", "VIRTUAL_", "RAY_"))
    }
    return left | more
