"""A detector for collages, the form that the paper gives its collage-cnn: every cell of a map may hold one box.

After Narra et al., arXiv 1904.12222, whose net is a small YOLO (Redmon and Farhadi, arXiv 1804.02767); here a cell has
one box and no anchors, since all tiles of a collage are of one size. Convolutions cross tile borders.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from collage.nets._blocks import BasicBlock, conv_norm

_LARGEST = 2.0  # sides of a tile that a box may have: bounded, or one wild box would outweigh a batch


class YoloNetSettings(BaseModel):
    """A strided stem, then stages of basic blocks, each of which halves the map; widths and blocks: one value each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["yolo"] = "yolo"
    stem: int = Field(default=32, ge=4, description="channels after the first halving")
    widths: tuple[int, ...] = Field(default=(64, 256), min_length=1)
    blocks: tuple[int, ...] = Field(default=(2, 2), min_length=1)


class YoloNet(nn.Module):
    """Canvas (B, C, S, S) -> boxes (B, cells, 5 + classes), cells row by row.

    Columns: centre x, y, width, height, in sides of the canvas; the logit of objectness; the classes' logits.
    """

    def __init__(self, settings: YoloNetSettings, *, channels: int, classes: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.stem = conv_norm(channels, settings.stem, 5, 2)
        stages: list[nn.Module] = []
        width = settings.stem
        for outputs, count in zip(settings.widths, settings.blocks, strict=True):
            for index in range(count):
                stages.append(BasicBlock(width, outputs, 2 if index == 0 else 1))
                width = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(width, 5 + classes, 1)
        # First boxes are of a tile's size, and few of them are sure: most cells have none.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]
        nn.init.constant_(self.head.bias[4:5], -2.0)  # type: ignore[index]

    def forward(self, canvas: Tensor) -> Tensor:
        """(B, C, S, S), normalised, blank tiles 0 -> (B, cells, 5 + classes)."""
        x = self.stages(torch.relu(self.stem(canvas)))  # (B, width, h, w)
        x = self.head(x).float()  # (B, 5 + classes, h, w); in half precision a place would be too coarse
        h, w = x.shape[2:]
        columns = torch.arange(w, dtype=x.dtype, device=x.device).view(1, 1, 1, w)
        rows = torch.arange(h, dtype=x.dtype, device=x.device).view(1, 1, h, 1)
        boxes = [
            (columns + x[:, 0:1].sigmoid()) / w,
            (rows + x[:, 1:2].sigmoid()) / h,
            x[:, 2:4].sigmoid() * _LARGEST / self.grid,
        ]
        out: Tensor = torch.cat([*boxes, x[:, 4:]], dim=1).flatten(2).transpose(1, 2)  # (B, h*w, 5 + classes)
        return out
