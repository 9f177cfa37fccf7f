"""What a call of an ONNX file costs, counted in its graph: for singles that were never one of our nets."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from collage.zoo import open_session

_Shapes = dict[str, list[int]]

_ONE_FILE = 2**30  # bytes; larger graphs keep their weights in a second file


def count_graph(path: Path, input_shape: tuple[int, ...]) -> tuple[int | None, int]:
    """(multiply-accumulates, learnt values) of one call with `input_shape` (1, C, H, W).

    Counted are convolutions and matrix products, plain or quantised, as torch's counter does; their shapes are those of
    a real call, so no graph is too clever to be counted. None where the graph has none (a forest of trees, say). Raises
    ModelError for a file that is no usable model.
    """
    model = onnx.load(str(path))
    params = sum(math.prod(tensor.dims) for tensor in model.graph.initializer if _learnt(tensor))
    counted = [node for node in model.graph.node if node.op_type in _COUNTED]
    if not counted:
        return None, params
    shapes = _shapes(model, {name for node in counted for name in (*node.input, *node.output) if name}, input_shape)
    return sum(_COUNTED[node.op_type](node, shapes) for node in counted), params


def _shapes(model: onnx.ModelProto, names: set[str], input_shape: tuple[int, ...]) -> _Shapes:
    """Shapes of `names`: of weights as they are written, of all else from a call that gives them as outputs."""
    graph = model.graph
    shapes: _Shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes |= {value.name: list(input_shape) for value in graph.input if value.name not in shapes}
    wanted = sorted(names - shapes.keys())
    known = {value.name for value in graph.output}
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in known)
    with tempfile.TemporaryDirectory() as folder:
        watched = Path(folder) / "watched.onnx"
        onnx.save(model, str(watched), save_as_external_data=model.ByteSize() > _ONE_FILE)
        session = open_session(watched)
        found = session.run(wanted, {session.get_inputs()[0].name: np.zeros(input_shape, np.float32)})
    return shapes | {name: list(np.shape(value)) for name, value in zip(wanted, found, strict=True)}


def _learnt(tensor: onnx.TensorProto) -> bool:
    """Floats, and the integers of quantised weights; shapes and indices are no weights."""
    return bool(tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING))


def _convolution(weight: int) -> Callable[[Any, _Shapes], int]:
    """Each output value takes one product for each value of its filter (out, in / groups, kernel...)."""
    return lambda node, shapes: math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[weight]][1:])


def _transposed(node: Any, shapes: _Shapes) -> int:
    """Each input value is multiplied with one filter (in, out / groups, kernel...)."""
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _product(left: int) -> Callable[[Any, _Shapes], int]:
    """(..., M, K) x (..., K, N): K products for each output value."""
    return lambda node, shapes: math.prod(shapes[node.output[0]]) * shapes[node.input[left]][-1]


def _gemm(node: Any, shapes: _Shapes) -> int:
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if turned else -1]


_COUNTED: dict[str, Callable[[Any, _Shapes], int]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed,
    "FusedConv": _convolution(1),
    "FusedMatMul": _product(0),
    "Gemm": _gemm,
    "MatMul": _product(0),
    "MatMulInteger": _product(0),
    "QGemm": _gemm,
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _product(0),
}
