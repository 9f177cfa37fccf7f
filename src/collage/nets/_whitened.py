"""A plain, wide classifier for small photographs that learns in few epochs.

After Keller Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498): a first 2x2 convolution whose
filters whiten the training images' patches and stay as they are; convolutions that begin as the identity; the maximum
of each 2x2 window before normalisation; biases but no scales in the norms; small first outputs. Residual stages of
three convolutions, as in the paper's larger nets.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

_OUTPUT_SCALE = 1 / 9  # first outputs near zero: the loss begins at log(classes)


class WhitenedNetSettings(BaseModel):
    """widths: one value a stage; each stage halves the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["whitened"] = "whitened"
    widths: tuple[int, ...] = Field(default=(64, 256, 256), min_length=1)
    depth: int = Field(default=2, ge=1, le=4, description="convolutions a stage; from 3 on the last ones are residual")
    squeeze: bool = Field(
        default=False, description="weigh a residual stage's channels by what the whole image shows (arXiv 1709.01507)"
    )


class WhitenedNet(nn.Module):
    """(B, C, S, S), normalised -> logits (B, classes)."""

    def __init__(self, settings: WhitenedNetSettings, *, channels: int, classes: int) -> None:
        super().__init__()
        patch = channels * 4
        self.whiten = nn.Conv2d(channels, 2 * patch, 2)
        self.whiten.weight.requires_grad_(False)
        stages: list[nn.Module] = []
        width = 2 * patch
        for outputs in settings.widths:
            stages.append(_Stage(width, outputs, settings.depth, squeeze=settings.squeeze))
            width = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width, classes, bias=False)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the first filters: eigenvectors of the patches of training images (n, C, S, S), normalised."""
        patches = nn.functional.unfold(images, 2)  # (n, C*4, patches)
        patches = patches.transpose(1, 2).flatten(0, 1).double()  # (n * patches, C*4)
        covariance = patches.T @ patches / len(patches)
        values, vectors = torch.linalg.eigh(covariance)
        filters = (vectors.T / (values + 5e-4).sqrt().unsqueeze(1)).float()  # (C*4, C*4): one filter a row
        filters = filters.view(-1, *self.whiten.weight.shape[1:])
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        self.whiten.bias.zero_()  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, classes)."""
        x = nn.functional.gelu(self.whiten(images))  # (B, C*8, S-1, S-1)
        x = self.stages(x)  # (B, width, S / 2**stages, S / 2**stages)
        out: Tensor = self.head(x.amax(dim=(2, 3))) * _OUTPUT_SCALE  # (B, classes)
        return out


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, *, squeeze: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_identity(inputs if i == 0 else outputs, outputs) for i in range(depth))
        self.norms = nn.ModuleList(_norm(outputs) for _ in range(depth))
        self.residual = depth >= 3
        self.weigh = _Squeeze(outputs) if squeeze and self.residual else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H // 2, W // 2)."""
        last = len(self.convolutions) - 1
        kept = x
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x)
            if i == 0:
                x = nn.functional.max_pool2d(x, 2)
            x = norm(x)
            if i == last and self.residual:
                x = self.weigh(x) + kept
            x = nn.functional.gelu(x)
            if i == 0:
                kept = x
        return x


class _Squeeze(nn.Module):
    """Squeeze and excitation (Hu et al., arXiv 1709.01507): hardly any arithmetic, and a view of the whole image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(8, width // 4)
        self.squeeze = nn.Linear(width, narrow)
        self.excite = nn.Linear(narrow, width)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W), channels weighed by 0..2; 1 at first."""
        seen = x.mean(dim=(2, 3))  # (B, width)
        weights = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(seen))))  # (B, width)
        return x * weights[:, :, None, None]


def _identity(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight[: min(inputs, outputs)])
    return convolution


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad_(False)
    return norm
