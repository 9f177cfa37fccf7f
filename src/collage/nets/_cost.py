"""What a net costs, counted."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(net: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass of input_shape (1, C, H, W), by torch's flop counter."""
    counter = FlopCounterMode(display=False)
    training = net.training
    net.eval()
    with torch.no_grad(), counter:
        net(torch.zeros(input_shape))
    net.train(training)
    return int(counter.get_total_flops()) // 2


def count_params(net: nn.Module) -> int:
    """Learnt values."""
    return sum(parameter.numel() for parameter in net.parameters())
