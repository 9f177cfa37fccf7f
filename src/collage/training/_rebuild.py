"""A shipped model as a torch net again: for what needs gradients."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from pydantic import TypeAdapter, ValidationError
from torch import nn

from collage.exceptions import ModelError
from collage.nets import NetSettings, build_net
from collage.zoo import LoadedModel

_Arrays = dict[str, NDArray[np.generic]]


def net_from_model(model: LoadedModel) -> nn.Module:
    """The torch net of an exported model, in eval mode: the card's `net`, filled with the ONNX file's weights by name.

    It gives what the file gives, within rounding. A norm that an exporter has folded into its convolution becomes one
    that only adds the folded bias. Raises ModelError for a card without `net` or with a wrong one, and for a file in
    which a weight is missing or has another shape (a quantised one, say).
    """
    card = model.card
    if card.net is None:
        raise ModelError(f"{card.name}: its card does not say what net it is (net); export it again")
    try:
        settings: NetSettings = TypeAdapter(NetSettings).validate_python(card.net)
        # A collage's net has the column for "nothing to see here" by itself, a batch's has been given it.
        outputs = len(card.classes) + (card.unknown and card.grid is None)
        net = build_net(settings, channels=card.preprocessing.channels, classes=outputs, grid=card.grid)
    except ValueError as error:  # a ValidationError is one
        message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ModelError(f"{card.name}: net: {message}") from error
    graph = onnx.load(str(model.path)).graph
    arrays: _Arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Weights stored at half precision are cast back, under another name, by nodes.
    arrays |= {n.output[0]: arrays[n.input[0]] for n in graph.node if n.op_type == "Cast" and n.input[0] in arrays}
    arrays |= _turned(graph, arrays)
    state = net.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name.endswith("num_batches_tracked"):
                continue
            found = arrays[name] if name in arrays else _folded(name, net, arrays)
            if found is None or found.shape != tuple(value.shape):
                raise ModelError(f"{model.path}: holds no {name} of shape {tuple(value.shape)}; export it again")
            value.copy_(torch.from_numpy(found.astype(np.float32)))
    return net.eval()


def _turned(graph: onnx.GraphProto, arrays: _Arrays) -> _Arrays:
    """Weights (in, out) of linear layers that an exporter has turned and renamed, by the layer's own bias."""
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    found: _Arrays = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for product, bias in (tuple(node.input), tuple(node.input)[::-1]):
            weight = arrays.get(products.get(product, ""))
            if weight is not None and bias in arrays and bias.endswith(".bias"):
                found[bias.removesuffix("bias") + "weight"] = weight.T
    return found


def _folded(name: str, net: nn.Module, arrays: _Arrays) -> NDArray[np.generic] | None:
    """A value of a norm, the second of a pair, whose convolution has taken it in; None where it is anything else."""
    layer, _, part = name.rpartition(".")
    norm = net.get_submodule(layer)
    bias = arrays.get(f"{layer.removesuffix('.1')}.0.weight_bias") if layer.endswith(".1") else None
    if bias is None or not isinstance(norm, nn.BatchNorm2d):
        return None
    ones = np.ones(bias.shape, np.float32)
    return {"weight": ones, "bias": bias, "running_mean": 0 * ones, "running_var": ones - norm.eps}.get(part)
