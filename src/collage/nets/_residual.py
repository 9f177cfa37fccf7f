"""A small residual classifier for one image: 3x3 stem, stages of basic blocks (each halves it), mean, linear."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from collage.nets._blocks import BasicBlock, conv_norm


class ResidualNetSettings(BaseModel):
    """widths and blocks: one value a stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["residual"] = "residual"
    stem: int = Field(default=32, ge=4, description="channels after the stem")
    stem_stride: int = Field(default=1, ge=1, le=4)
    widths: tuple[int, ...] = Field(default=(64, 128), min_length=1)
    blocks: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class ResidualNet(nn.Module):
    """He et al., arXiv 1512.03385, at the size of small pictures."""

    def __init__(self, settings: ResidualNetSettings, *, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = conv_norm(channels, settings.stem, 3, settings.stem_stride)
        stages: list[nn.Module] = []
        width = settings.stem
        for outputs, count in zip(settings.widths, settings.blocks, strict=True):
            for index in range(count):
                stages.append(BasicBlock(width, outputs, 2 if index == 0 else 1))
                width = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W), normalised -> logits (B, classes)."""
        x = torch.relu(self.stem(images))  # (B, stem, H, W)
        x = self.stages(x)  # (B, width, H / 2**stages, W / 2**stages)
        out: Tensor = self.head(x.mean(dim=(2, 3)))  # (B, classes)
        return out
