"""Where a net learns: on the processor, or on a GPU by CUDA.

Whatever is drawn at random is drawn on the processor, and images and answers are kept there: a step's pixels, labels
and soft outputs are moved as they are needed. So the batches are the same on every device, and a training that was
stopped on one goes on with another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from collage.exceptions import SettingsError

CPU = torch.device("cpu")


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, `cpu`, `cuda` or `cuda:N`; None: a GPU where CUDA finds one, else the processor.

    Raises SettingsError for any other, and for a GPU that is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise SettingsError(f"--device {name}: say cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"--device {name}: torch finds {torch.cuda.device_count()} GPUs here")
    return device


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, without waiting for what the device is still doing."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def half_precision(device: torch.device, *, enabled: bool) -> torch.autocast:
    """bfloat16 where it costs nothing. Without a cache of cast weights, which graphs of CUDA could not keep."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=device.type == "cpu")


def as_graph(net: nn.Module, inputs: Tensor, *, bfloat16: bool) -> nn.Module:
    """The net on a GPU, for training with inputs of this shape, as one CUDA graph.

    The nets are small: to launch their layers one by one takes longer than to compute them.
    """
    torch.backends.cudnn.benchmark = True
    kept = [buffer.clone() for buffer in net.buffers()]  # capturing runs the net, and norms count that
    with half_precision(inputs.device, enabled=bfloat16):
        graphed = torch.cuda.make_graphed_callables(net, (inputs,), allow_unused_input=True)
    assert isinstance(graphed, nn.Module)  # as a module was given
    with torch.no_grad():
        for buffer, value in zip(net.buffers(), kept, strict=True):
            buffer.copy_(value)
    return graphed
