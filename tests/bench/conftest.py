"""Small real models whose right answers are known, and a dataset of images for them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from collage.bench import BenchSettings
from collage.dispatch import Role

SIDE = 8
CLASSES = [f"g{index}" for index in range(10)]
WRONG = 3  # one class whose images carry the next one's label: so that accuracy is not 1

MakeBench = Callable[..., BenchSettings]


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()

    def worker_up(self, worker: str, roles: frozenset[Role], slots: int) -> None:
        self.heard.put_nowait(("up", worker, roles))

    def worker_down(self, worker: str, why: str) -> None:
        self.heard.put_nowait(("down", worker))

    def job_completed(self, job: int, output: NDArray[np.float32], seconds: float) -> None:
        self.heard.put_nowait(("completed", job, int(np.argmax(output)), seconds))

    def job_failed(self, job: int, why: str) -> None:
        self.heard.put_nowait(("failed", job, why))

    def job_freed(self, job: int) -> None:
        self.heard.put_nowait(("freed", job))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A single that names the nearest of ten greys, and a collage and a cheap one that do the same."""
    folder = tmp_path_factory.mktemp("models")
    levels = np.arange(10, dtype=np.float32) / 9
    # -(mean - level)^2 without what all classes share, times 100: highest at its own level.
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 10], 200 * levels)
    bias = helper.make_tensor("b", TensorProto.FLOAT, [10], -100 * levels**2)

    def save(name: str, role: str, grid: int, single: str | None) -> str:
        tiles = grid * grid
        form = [-1, tiles, 1] if role == "collage" else [-1, 1]
        shown = "collage" if role == "collage" else "images"  # inputs are called as in the shipped models
        graph = helper.make_graph(
            [
                helper.make_node("AveragePool", [shown], ["means"], kernel_shape=[SIDE, SIDE], strides=[SIDE, SIDE]),
                helper.make_node("Reshape", ["means", "form"], ["column"]),
                helper.make_node("MatMul", ["column", "w"], ["scaled"]),
                helper.make_node("Add", ["scaled", "b"], ["logits"]),
            ],
            name,
            [helper.make_tensor_value_info(shown, TensorProto.FLOAT, ["n", 1, SIDE * grid, SIDE * grid])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", *([tiles] if grid > 1 else []), 10])],
            [weights, bias, helper.make_tensor("form", TensorProto.INT64, [len(form)], form)],
        )
        data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        card = {
            "name": name,
            "role": role,
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "preprocessing": {"size": SIDE, "channels": 1, "mean": [0.0], "std": [1.0]},
            "classes": CLASSES,
            "grid": grid if role == "collage" else None,
            "single_sha256": single,
        }
        (folder / f"{name}.json").write_text(json.dumps(card))
        return str(card["sha256"])

    digest = save("greys", "single", 1, None)
    save("greys-3x3", "collage", 3, digest)
    save("greys-cheap", "cheap", 1, digest)
    names = {"single": "greys", "collage": "greys-3x3", "cheap": "greys-cheap"}
    return {role: str(folder / f"{name}.json") for role, name in names.items()}


@pytest.fixture(scope="session")
def greys(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image folder: two images a class, those of g3 labelled g4."""
    folder = tmp_path_factory.mktemp("greys")
    for name in CLASSES:
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
    for index, name in enumerate(CLASSES):
        label = CLASSES[WRONG + 1] if index == WRONG else name
        for number in range(2):
            pixels = np.full((SIDE, SIDE), round(index * 255 / 9), np.uint8)
            Image.fromarray(pixels).save(folder / "test" / label / f"{index}-{number}.png")
    return str(folder)


@pytest.fixture
def make_bench(models: dict[str, str], greys: str) -> MakeBench:
    """Settings of a small experiment on these models; keywords change it."""

    def make(**changes: object) -> BenchSettings:
        values = {
            "name": "small",
            "policies": ["none", "collage"],
            "loads": [0.4],
            "workers": 3,
            "blocks": 2,
            "requests": 150,
            "warmup": 30,
            "dataset": greys,
            "images": 20,
            "models": models,
            "times": {"scale": 0.1},
            "costs": {"cheap": {"ratio": 0.2}},
            # What is tested is that it counts right, on whatever machine the tests run.
            "limits": {"cpu_share": 1.0, "overruns": 1.0},
        }
        return BenchSettings.model_validate(values | changes)

    return make
