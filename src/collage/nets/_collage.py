"""The collage-cnn: one fully convolutional pass over the canvas, one row of logits a tile.

After Narra et al., arXiv 1904.12222, with a classifying head in place of their detection head: each tile's features are
averaged over its own window, so that no box has to be found and no tile can be missed. Convolutions cross tile borders;
the head does not. The extra last output of a tile is "nothing to see here", learnt from blank tiles.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from collage.nets._blocks import BasicBlock, InvertedBlock, conv_norm


class CollageNetSettings(BaseModel):
    """A strided stem, one more halving, then blocks at a quarter of the canvas's resolution."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["collage"] = "collage"
    stem: int = Field(default=32, ge=4, description="channels after the first halving")
    stem_kernel: int = Field(default=5, ge=3, le=9)
    width: int = Field(default=64, ge=4, description="channels after the second halving")
    blocks: int = Field(default=2, ge=0)
    block: Literal["inverted", "basic"] = "inverted"
    expansion: int = Field(default=3, ge=1, le=8, description="inverted blocks only")
    kernel: int = Field(default=3, ge=3, le=7, description="depthwise kernel, inverted blocks only")
    features: int = Field(default=192, ge=8, description="channels that the head pools")
    dropout: float = Field(default=0.0, ge=0, lt=1)


class CollageNet(nn.Module):
    """Canvas (B, C, g*T, g*T) -> logits (B, g*g, outputs), tiles row by row. T must be a multiple of 4."""

    def __init__(self, settings: CollageNetSettings, *, channels: int, outputs: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.stem = conv_norm(channels, settings.stem, settings.stem_kernel, 2)
        self.down = conv_norm(settings.stem, settings.width, 3, 2)
        width = settings.width
        self.blocks = nn.Sequential(
            *(
                InvertedBlock(width, width, 1, settings.expansion, settings.kernel)
                if settings.block == "inverted"
                else BasicBlock(width, width, 1)
                for _ in range(settings.blocks)
            )
        )
        self.features = conv_norm(width, settings.features, 1)
        self.head = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(settings.features, outputs))

    def forward(self, canvas: Tensor) -> Tensor:
        """(B, C, g*T, g*T), normalised, blank tiles 0 -> logits (B, g*g, outputs)."""
        x = torch.relu(self.stem(canvas))  # (B, stem, g*T/2, g*T/2)
        x = torch.relu(self.down(x))  # (B, width, g*T/4, g*T/4)
        x = self.blocks(x)
        x = torch.relu(self.features(x))  # (B, features, g*T/4, g*T/4)
        side = x.shape[-1] // self.grid
        x = nn.functional.avg_pool2d(x, side)  # (B, features, g, g): one window a tile
        x = x.flatten(2).transpose(1, 2)  # (B, g*g, features)
        out: Tensor = self.head(x)  # (B, g*g, outputs)
        return out
