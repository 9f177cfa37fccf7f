"""The tile-isolated collage-cnn: the canvas is cut into its tiles inside the net, and no layer crosses a tile's border.

What one caller's image shows can then not change another caller's answer, whatever it shows, and no tile has to learn
to overlook its neighbours. One input, one call, as the collage-cnn of Narra et al. (arXiv 1904.12222) has; the
arithmetic is that of a small classifier on a batch of tiles.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from collage.nets._residual import ResidualNet, ResidualNetSettings
from collage.nets._whitened import WhitenedNet, WhitenedNetSettings

BackboneSettings = Annotated[ResidualNetSettings | WhitenedNetSettings, Field(discriminator="family")]


class TileNetSettings(BaseModel):
    """The backbone sees one tile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["tiles"] = "tiles"
    backbone: BackboneSettings


class TileNet(nn.Module):
    """Canvas (B, C, g*T, g*T) -> logits (B, g*g, outputs), tiles row by row. T is whatever the backbone takes."""

    def __init__(self, settings: TileNetSettings, *, channels: int, outputs: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.backbone = build_backbone(settings.backbone, channels=channels, classes=outputs)

    def prepare(self, images: Tensor) -> None:
        """Let the backbone look at training images (n, C, T, T), normalised, if it wants to."""
        if isinstance(self.backbone, WhitenedNet):
            self.backbone.prepare(images)

    def forward(self, canvas: Tensor) -> Tensor:
        """(B, C, g*T, g*T), normalised, blank tiles 0 -> logits (B, g*g, outputs)."""
        logits: Tensor = self.backbone(cut_tiles(canvas, self.grid))  # (B * g*g, outputs)
        return logits.view(-1, self.grid * self.grid, logits.shape[1])  # (B, g*g, outputs)


def cut_tiles(canvas: Tensor, grid: int) -> Tensor:
    """(B, C, g*T, g*T) -> (B * g*g, C, T, T), row by row."""
    count, channels, height, width = canvas.shape
    x = canvas.reshape(count, channels, grid, height // grid, grid, width // grid)  # (B, C, row, T, column, T)
    x = x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # (B * g*g, C, T, T)
    return x.contiguous(memory_format=torch.channels_last)


def build_backbone(
    settings: ResidualNetSettings | WhitenedNetSettings, *, channels: int, classes: int
) -> ResidualNet | WhitenedNet:
    """A net for one image: (B, C, S, S) -> (B, classes)."""
    if isinstance(settings, WhitenedNetSettings):
        return WhitenedNet(settings, channels=channels, classes=classes)
    return ResidualNet(settings, channels=channels, classes=classes)
