"""What a detector for collages learns: one box for each filled tile, at the cell that holds the tile's centre.

The parts of its loss are YOLO's (Redmon and Farhadi, arXiv 1804.02767): squared error of boxes, cross-entropy of
classes, here mostly the single's soft outputs, and binary cross-entropy of objectness.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from collage.codes import BoxesCode
from collage.training._collages import CollageTask, assemble
from collage.training._device import half_precision, moved
from collage.training._order import mixed_order
from collage.training._share import WHOLE, Share
from collage.training._teacher import distillation_loss
from collage.training._views import normalise_batch

_IGNORED = 0.5  # a box that overlaps its tile so far is not wrong, though another cell is responsible


class BoxTask(CollageTask):
    """Collages as for any collage-cnn; outputs are boxes (B, cells, 5 + classes)."""

    def _loss(self, outputs: Tensor, labels: Tensor, soft: Tensor, filled: Tensor) -> Tensor:
        """Sum of the three means: boxes and classes over filled tiles, objectness over cells with and without one."""
        loop, distill = self._settings.train, self._distill
        side = math.isqrt(outputs.shape[1])
        responsible = self._responsible(side).to(outputs.device)  # (g*g,)
        tiles = _tile_boxes(self.grid).to(outputs.device)  # (g*g, 4)
        full = filled.view(-1, self.tiles)  # (B, g*g)
        own = outputs[:, responsible][full]  # (filled, 5 + classes)
        boxes = ((own[:, :4] - tiles.expand(len(full), -1, -1)[full]) * self.grid).square().sum(1).mean()
        hard = nn.functional.cross_entropy(own[:, 5:], labels[filled], label_smoothing=loop.label_smoothing)
        gentle = distillation_loss(own[:, 5:], soft[filled], distill.temperature).mean()
        wanted = torch.zeros(outputs.shape[:2], device=outputs.device)  # (B, cells)
        wanted[:, responsible] = full.float()
        wrong = nn.functional.binary_cross_entropy_with_logits(outputs[..., 4], wanted, reduction="none")
        nearest = _tile_of_cell(side, self.grid).to(outputs.device)  # (cells,)
        ignored = full[:, nearest] & (_overlap(outputs[..., :4].detach(), tiles[nearest]) > _IGNORED)  # (B, cells)
        objectness = wrong[wanted > 0].mean() + wrong[~ignored & (wanted == 0)].mean()
        return boxes + distill.weight * gentle + (1 - distill.weight) * hard + objectness

    def _responsible(self, side: int) -> Tensor:
        """The cell of each tile's centre (g*g,), on a map of side * side cells."""
        place = ((torch.arange(self.grid) + 0.5) * side / self.grid).long()
        return (place.view(-1, 1) * side + place).flatten()

    @torch.no_grad()
    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """A_d on collages of all validation images, every tile filled, decoded as serving does: the share's part."""
        settings, (pixels, labels) = self._settings, self._validation
        code = BoxesCode(self.grid, settings.preprocessing, self._classes)
        index = mixed_order(len(labels), self.tiles)
        right, step = 0, 64 * self.tiles
        for start in share.turns(range(0, len(index), step)):
            part = index[start : start + step]
            tiles = normalise_batch(moved(pixels[part], self._device), settings.preprocessing)
            canvas = assemble(tiles, self.grid)
            with half_precision(self._device, enabled=settings.train.bfloat16):
                outputs = net(canvas.contiguous(memory_format=torch.channels_last))  # (B, cells, 5 + classes)
            for own, output in zip(labels[part].view(-1, self.tiles), outputs.float().cpu().numpy(), strict=True):
                answers = code.decode(output, range(self.tiles), {})
                right += sum(int(answer.scores.argmax()) == int(own[tile]) for tile, answer in answers.items())
        return right / len(index)


def _tile_boxes(grid: int) -> Tensor:
    """Centre x, y, width, height of each tile, in sides of the canvas: (g*g, 4)."""
    centres = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    size = torch.full((grid * grid,), 1 / grid)
    return torch.stack([x.flatten(), y.flatten(), size, size], dim=1)


def _tile_of_cell(side: int, grid: int) -> Tensor:
    """The tile that each cell's centre lies on: (side * side,)."""
    place = ((torch.arange(side) + 0.5) * grid / side).long()
    return (place.view(-1, 1) * grid + place).flatten()


def _overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) with others of a shape that fits: (...)."""
    low = torch.maximum(boxes[..., :2] - boxes[..., 2:] / 2, others[..., :2] - others[..., 2:] / 2)
    high = torch.minimum(boxes[..., :2] + boxes[..., 2:] / 2, others[..., :2] + others[..., 2:] / 2)
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - shared)
