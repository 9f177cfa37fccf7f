"""A model in fewer bits: INT8 arithmetic, or weights that are stored at half precision and computed with at full.

INT8 is ONNX Runtime's static quantisation: weights by output channel, activations by tensor, ranges from training
images that went through the model's own code. No test image is seen.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime.quantization as ort_quantization
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from collage.codes import make_code
from collage.data import PixelSet, load_pixels, open_dataset
from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.imaging import normalise
from collage.zoo import LoadedModel, file_sha256, load_model, open_session

Bits = Literal["int8", "half"]

_LEAST_VALUES = 256  # a smaller tensor's half would hardly be missed in the file
_HALF_MOST = float(np.finfo(np.float16).max)
_BATCH = 8


def quantise_model(
    model: LoadedModel, out: Path, *, bits: Bits = "int8", images: int = 512, dataset: str | None = None, seed: int = 0
) -> LoadedModel:
    """Write `out/<name>-<bits>.onnx` and its card; bound to the same single, nothing measured yet.

    images: training images of `dataset` (default: the card's) that INT8 ranges are taken from; half needs none. A
    single so changed is another single, to which no backup is bound yet. Raises DataMissing, and ModelError for a model
    that has been quantised before or is a learned code.
    """
    card = model.card
    if card.role is Role.LEARNED:
        raise ModelError(f"{card.name}: is a learned code, which runs the single itself: there is little to quantise")
    if any(node.op_type == "DequantizeLinear" for node in onnx.load(str(model.path)).graph.node):
        raise ModelError(f"{card.name}: is quantised already; give the model that it was made from")
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{card.name}-{bits}.onnx"
    if bits == "half":
        store_half(model.path, path)
        note = "Weights stored at half precision."
    else:
        source = open_dataset(dataset or card.dataset)
        pixels = load_pixels(source, "train", card.preprocessing, limit=images)
        _write_int8(model.path, path, _Inputs(model, pixels, seed))
        note = f"INT8; ranges from {len(pixels)} training images."
    fresh = card.model_copy(
        update={
            "name": path.stem,
            "file": path.name,
            "sha256": file_sha256(path),
            "command": f"collage quantise {card.name} --to {bits} --out models",
            "notes": f"{card.notes} {note}".strip(),
            "accuracy": None,
            "calibration": card.calibration if bits == "half" else None,
            "cost": card.cost and card.cost.model_copy(update={"latency_ratio": None}),
        }
    )
    path.with_suffix(".json").write_text(fresh.model_dump_json(indent=2) + "\n")
    open_session(path)  # a file that cannot be run must not look like a model
    return load_model(path.with_suffix(".json"))


def store_half(source: Path, path: Path) -> None:
    """Copy an ONNX file with its large float32 weights as float16, cast back by nodes that are folded at load.

    A weight keeps its name; one that half precision cannot hold stays as it is.
    """
    model = onnx.load(str(source))
    graph, casts = model.graph, {}
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < _LEAST_VALUES or not np.abs(values).max() <= _HALF_MOST:
            continue
        casts[tensor.name] = f"{tensor.name}.float32"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    for node in graph.node:
        node.input[:] = [casts.get(name, name) for name in node.input]
    nodes = [helper.make_node("Cast", [name], [full], to=TensorProto.FLOAT) for name, full in casts.items()]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _write_int8(source: Path, path: Path, inputs: _Inputs) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        root, level = logging.getLogger(), logging.getLogger().level
        root.setLevel(logging.ERROR)  # it advises, on the root logger, to do what is done here
        try:
            quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)  # norms go into convolutions
            ort_quantization.quantize_static(
                str(plain),
                str(path),
                inputs,
                quant_format=ort_quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=ort_quantization.QuantType.QUInt8,
                weight_type=ort_quantization.QuantType.QInt8,
            )
        finally:
            root.setLevel(level)


class _Inputs(ort_quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration: the images in full inputs of the model, some at a time."""

    def __init__(self, model: LoadedModel, images: PixelSet, seed: int) -> None:
        card, code = model.card, make_code(model.card)
        order = np.random.default_rng(seed).permutation(len(images))
        groups = np.resize(order, (-(-len(order) // code.capacity), code.capacity))  # the last one is filled up
        inputs = [code.encode([normalise(images.pixels[i], card.preprocessing) for i in group]) for group in groups]
        self._name = open_session(model.path).get_inputs()[0].name
        self._batches = iter([np.concatenate(inputs[at : at + _BATCH]) for at in range(0, len(inputs), _BATCH)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next inputs by name; None: no more."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
