"""A small real model on disk: an ONNX file and its card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from collage.zoo import file_sha256

MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write a model that multiplies its flattened input by a matrix; gives the card's path. Keywords change it."""

    def make(name: str = "toy", **changes: object) -> Path:
        weights = np.arange(12, dtype=np.float32).reshape(4, 3)
        graph = helper.make_graph(
            [helper.make_node("Flatten", ["images"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
            name,
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 2, 2])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / f"{name}.onnx")
        card = {
            "name": name,
            "role": "single",
            "file": f"{name}.onnx",
            "sha256": file_sha256(tmp_path / f"{name}.onnx"),
            "preprocessing": {"size": 2, "channels": 1, "mean": [0.5], "std": [0.5]},
            "classes": ["a", "b", "c"],
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**card, **changes}))
        return path

    return make
