"""Building blocks that several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation; `kernel // 2` padding."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = torch.relu(self.first(x))
        return torch.relu(self.second(y) + self._short(x))

    def _short(self, x: Tensor) -> Tensor:
        if not self.training or self.stride == 1:
            return self.shortcut(x)  # type: ignore[no-any-return]
        # The same without a stride: the gradient of a strided 1x1 convolution of fewer than 16 channels, channels last,
        # writes past its memory in oneDNN (its issue 6035).
        convolution, norm = self.shortcut.children()
        kept = x[:, :, :: self.stride, :: self.stride]  # (B, inputs, H / stride, W / stride)
        return norm(nn.functional.conv2d(kept, convolution.weight))  # type: ignore[no-any-return, arg-type]


class InvertedBlock(nn.Module):
    """Expand 1x1, depthwise, project 1x1, shortcut where shapes allow (Sandler et al., arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = conv_norm(inputs, width, 1)
        self.depthwise = conv_norm(width, width, kernel, stride, groups=width)
        self.project = conv_norm(width, outputs, 1)
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = torch.relu(self.depthwise(torch.relu(self.expand(x))))
        out: Tensor = self.project(y)
        return x + out if self.shortcut else out
