"""Codes that put whole images side by side: the collage, and, as pictures of one tile, replica and cheap single.

Source of the collage: Narra et al., "Collage Inference", arXiv 1904.12222. There a detector answers with boxes; here
the model answers for each tile directly, and says "unknown" where it sees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from collage.codes._base import FloatArray
from collage.codes._rows import RowsCode
from collage.dispatch import Source
from collage.imaging import Preprocessing

_BLANK = 0.0  # the mean pixel, in training too


class _TiledCode(RowsCode):
    """Grid x grid tiles, row by row; the model's output has one row of columns per tile."""

    def __init__(
        self,
        grid: int,
        preprocessing: Preprocessing,
        classes: int,
        *,
        unknown: bool = False,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(grid * grid, preprocessing, classes, unknown=unknown, output=output, temperature=temperature)
        self.grid = grid
        self._canvas_shape = (1, preprocessing.channels, grid * preprocessing.size, grid * preprocessing.size)

    def encode(self, inputs: Sequence[FloatArray | None], out: FloatArray | None = None) -> FloatArray:
        """Tensors (C, H, W) by tile, None or missing: blank -> float32 canvas (1, C, grid*H, grid*W).

        Where `out` is given, every pixel of it is written, so that a used canvas can be used again, and it is returned.
        Raises ValueError for more inputs than `capacity` and for a wrong shape of an input or of `out`.
        """
        if len(inputs) > self.capacity:
            raise ValueError(f"{len(inputs)} inputs; this code holds at most {self.capacity}")
        if out is None:
            out = np.empty(self._canvas_shape, dtype=np.float32)
        elif out.shape != self._canvas_shape or out.dtype != np.float32:
            raise ValueError(f"out is {out.dtype} {out.shape}; float32 {self._canvas_shape} is needed")
        _, height, width = self.input_shape
        for position in range(self.capacity):
            row, column = divmod(position, self.grid)
            tile = out[0, :, row * height : (row + 1) * height, column * width : (column + 1) * width]  # (C, H, W)
            image = inputs[position] if position < len(inputs) else None
            if image is None:
                tile.fill(_BLANK)
            elif image.shape != self.input_shape:
                raise ValueError(f"input {position} has shape {image.shape}; {self.input_shape} is needed")
            else:
                tile[...] = image
        return out


class CollageCode(_TiledCode):
    """N = grid * grid images in one picture, classified by a collage-cnn in one pass.

    `preprocessing` is that of one tile; `unknown`: the model's last column says "nothing to see here"; `output`: what
    the model's columns are; `temperature`: logits are divided by it before confidence is taken. Raises ValueError for a
    grid outside 2..5.
    """

    source = Source.COLLAGE

    def __init__(
        self,
        grid: int,
        preprocessing: Preprocessing,
        classes: int,
        *,
        unknown: bool = False,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        if not 2 <= grid <= 5:
            raise ValueError(f"grid must be from 2 to 5, not {grid}")
        super().__init__(grid, preprocessing, classes, unknown=unknown, output=output, temperature=temperature)


class ReplicaCode(_TiledCode):
    """The same image on the same single a second time."""

    source = Source.REPLICA

    def __init__(
        self,
        preprocessing: Preprocessing,
        classes: int,
        *,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(1, preprocessing, classes, output=output, temperature=temperature)


class CheapCode(_TiledCode):
    """The image on a smaller, cheaper single."""

    source = Source.CHEAP

    def __init__(
        self,
        preprocessing: Preprocessing,
        classes: int,
        *,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(1, preprocessing, classes, output=output, temperature=temperature)
