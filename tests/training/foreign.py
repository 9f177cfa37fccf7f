"""Classifiers that Collage did not make, and folders of images such as people have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ["across", "down", "middle"]
SIDE = 20


def write_images(folder: Path, count: int, *, seed: int = 0, by_class: bool = True) -> None:
    """`count` images a class: sizes from 20 to 60 pixels, grey and colour, PNG and JPEG."""
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        target = folder / name if by_class else folder
        target.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            width, height = rng.integers(SIDE, 3 * SIDE, 2)
            row, column = np.mgrid[:height, :width]
            unit = min(width, height)
            shape = {
                "across": row * 8 // unit % 2,
                "down": column * 8 // unit % 2,
                "middle": np.hypot(row - height / 2, column - width / 2) < 0.3 * unit,
            }[name]
            grey = number % 3 == 0
            pixels = 150 * shape[..., None] + rng.uniform(0, 100, (height, width, 1 if grey else 3))
            image = Image.fromarray(pixels.astype(np.uint8)[..., 0] if grey else pixels.astype(np.uint8))
            image.save(target / f"{name}-{number:03d}.{'png' if number % 2 else 'jpg'}")


def sklearn_classifier(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """A scikit-learn net of pixels (n, S, S, C), scaled to 0..1, as skl2onnx exports it: labels, then probabilities.

    In front of it only what makes a row of a picture.
    """
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier

    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1).astype(np.float32) / 255
    classifier = MLPClassifier((64,), max_iter=400, random_state=0).fit(rows, labels)
    model = to_onnx(classifier, rows[:1], options={"zipmap": False}, target_opset=17)
    _, side, _, channels = pixels.shape
    flatten = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["rows"])],
        "flatten",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", rows.shape[1]])],
    )
    front = helper.make_model(flatten, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.save(onnx.compose.merge_models(front, model, io_map=[("rows", model.graph.input[0].name)]), str(path))


def convolutions(
    path: Path, *, size: int, classes: int, channels: int = 3, batch: Any = "n", last: bool = False, width: int = 8
) -> None:
    """Two strided convolutions, a mean, a matrix: random weights. `last`: channels come last."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(size=(width, channels, 5, 5)),
        "second": rng.normal(size=(2 * width, width, 3, 3)),
        "matrix": rng.normal(size=(2 * width, classes)),
        "bias": np.zeros(classes),
    }
    shape = [batch, size, size, channels] if last else [batch, channels, size, size]
    nodes = [
        helper.make_node("Conv", ["planes" if last else "input", "first"], ["a"], strides=[4, 4], pads=[2] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "matrix", "bias"], ["scores"]),
    ]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["input"], ["planes"], perm=[0, 3, 1, 2]))
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
