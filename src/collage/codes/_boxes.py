"""Collages whose model answers with boxes, as in the paper: each box goes to the tile that it covers most of.

Source: Narra et al., "Collage Inference", arXiv 1904.12222; limits as there. A tile without a box is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collage.codes._base import FloatArray, TileAnswer
from collage.codes._tiled import CollageCode

_OBJECTNESS = 0.3  # a box below it is none
_OVERLAP = 0.45  # intersection over union from which two boxes of one class are the same
_BOX = 5  # columns before the classes': centre x, y, width, height in sides of the canvas; logit of objectness

Doubles = NDArray[np.float64]


class BoxesCode(CollageCode):
    """N = grid * grid images in one picture, for a detector. `output`: what the classes' columns are."""

    def decode(
        self, output: FloatArray, filled: Sequence[int], present: Mapping[int, FloatArray]
    ) -> dict[int, TileAnswer]:
        """Output (1, boxes, 5 + classes) or (boxes, 5 + classes) -> answers of the filled tiles; absent: unknown.

        Of a tile's boxes the surest counts: objectness times the probability of its class, which is the confidence.
        Boxes that are not finite or lie outside the canvas count for nothing. Raises ValueError for another shape and
        for a position that is no tile.
        """
        shape, columns = output.shape, _BOX + self.classes
        rows = output[0] if output.ndim == 3 and len(output) == 1 else output
        if rows.ndim != 2 or rows.shape[1] != columns:
            raise ValueError(f"output has shape {shape}; (1, boxes, {columns}) is needed")
        for position in filled:
            if not 0 <= position < self.capacity:
                raise ValueError(f"position {position} is no tile; they go from 0 to {self.capacity - 1}")
        rows = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
        objectness = 1 / (1 + np.exp(-rows[:, 4].clip(-50, 50)))  # (boxes,)
        rows, objectness = rows[objectness > _OBJECTNESS], objectness[objectness > _OBJECTNESS]
        scores = rows[:, _BOX:]  # (boxes, classes)
        logits = scores if self.output == "logits" else np.log(scores.clip(1e-12, 1.0))
        chances = np.exp((logits - logits.max(axis=1, keepdims=True)) / self.temperature)
        chances /= chances.sum(axis=1, keepdims=True)
        sure = objectness * chances.max(axis=1)
        corners = _corners(rows)
        found: dict[int, TileAnswer] = {}
        for box in _distinct(corners, chances.argmax(axis=1), sure):  # the surest first
            tile = self._tile(corners[box])
            if tile is not None and tile in filled and tile not in found:
                found[tile] = TileAnswer(scores[box].astype(np.float32), float(sure[box]))
        return found

    def _tile(self, box: Doubles) -> int | None:
        """The tile that most of a box (4,) is on; None where it is on none."""
        edges = np.arange(self.grid) / self.grid
        across = np.minimum(box[2], edges + 1 / self.grid) - np.maximum(box[0], edges)  # (grid,) by column
        down = np.minimum(box[3], edges + 1 / self.grid) - np.maximum(box[1], edges)  # (grid,) by row
        area = down.clip(0)[:, None] * across.clip(0)[None, :]  # (grid, grid)
        return int(area.argmax()) if area.max() > 0 else None


def _corners(rows: Doubles) -> Doubles:
    """Boxes (n, 4): left, top, right, bottom, cut off at the canvas."""
    centre, half = rows[:, :2], rows[:, 2:4].clip(0) / 2
    return np.concatenate([centre - half, centre + half], axis=1).clip(0.0, 1.0)


def _distinct(corners: Doubles, labels: NDArray[Any], sure: Doubles) -> list[int]:
    """Non-maximum suppression: indices of boxes, the surest first, without those that repeat a surer one's class."""
    area = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    kept: list[int] = []
    for box in np.argsort(-sure, kind="stable"):
        same = [other for other in kept if labels[other] == labels[box]]
        low = np.maximum(corners[same, :2], corners[box, :2])
        high = np.minimum(corners[same, 2:], corners[box, 2:])
        shared = np.prod((high - low).clip(0), axis=1)  # (same,)
        if not (shared > _OVERLAP * (area[same] + area[box] - shared)).any():
            kept.append(int(box))
    return kept
