"""A model whose right answer is known: each channel's mean, in a picture of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from collage.dispatch import JobId, Role, WorkerId

Event = tuple[Any, ...]


class Recorder:
    """A listener that keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Event] = asyncio.Queue()

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        self.heard.put_nowait(("up", worker, roles, slots))

    def worker_down(self, worker: WorkerId, why: str) -> None:
        self.heard.put_nowait(("down", worker, why))

    def job_completed(self, job: JobId, output: NDArray[np.float32], seconds: float) -> None:
        self.heard.put_nowait(("completed", job, output, seconds))

    def job_failed(self, job: JobId, why: str) -> None:
        self.heard.put_nowait(("failed", job, why))

    def job_freed(self, job: JobId) -> None:
        self.heard.put_nowait(("freed", job))

    async def next(self, kind: str | None = None) -> Event:
        """The next event, which must be of this kind."""
        event = await self.heard.get()
        assert kind in (None, event[0]), event
        return event

    def silent(self) -> bool:
        return self.heard.empty()

    async def until(self, kind: str) -> Event:
        """The next event of this kind; those before it are forgotten."""
        while (event := await self.heard.get())[0] != kind:
            pass
        return event


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def means(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images (N, C, H, W) of any size -> (N, C), the mean of each channel."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["images"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["y"])],
        "means",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c"])],
    )
    path = tmp_path_factory.mktemp("models") / "means.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images (1, 1, 4, 4) -> the same, doubled: a model of fixed shape, whose output is not that of `means`."""
    shape = [1, 1, 4, 4]
    graph = helper.make_graph(
        [helper.make_node("Add", ["images", "images"], ["y"])],
        "doubled",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = tmp_path_factory.mktemp("models") / "doubled.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on either event loop."""

    def run(main: Coroutine[Any, Any, None]) -> None:
        factory = None
        if request.param == "uvloop":
            factory = pytest.importorskip("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return run
