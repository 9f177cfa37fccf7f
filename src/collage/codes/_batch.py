"""A batch: several images through one small net, as its batch axis: what a collage is measured against.

The arithmetic is that of a tile-isolated collage-cnn. The server must take several images in a call; for that, a group
that is not full costs only what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from collage.codes._base import FloatArray
from collage.codes._rows import RowsCode
from collage.dispatch import Source
from collage.imaging import Preprocessing


class BatchCode(RowsCode):
    """Up to k images in one call of a model for one image. Raises ValueError for k below 2."""

    source = Source.BATCH

    def __init__(
        self,
        k: int,
        preprocessing: Preprocessing,
        classes: int,
        *,
        unknown: bool = False,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        if k < 2:
            raise ValueError(f"k must be at least 2, not {k}")
        super().__init__(k, preprocessing, classes, unknown=unknown, output=output, temperature=temperature)

    def encode(self, inputs: Sequence[FloatArray | None], out: FloatArray | None = None) -> FloatArray:
        """Tensors (C, H, W) by position, None: blank -> float32 (n, C, H, W), n inputs, but at least 1.

        Where `out` is given, it is filled and returned. Raises ValueError for more inputs than `capacity` and for a
        wrong shape of an input or of `out`.
        """
        if len(inputs) > self.capacity:
            raise ValueError(f"{len(inputs)} inputs; this code holds at most {self.capacity}")
        shape = (max(1, len(inputs)), *self.input_shape)
        if out is None:
            out = np.empty(shape, dtype=np.float32)
        elif out.shape != shape or out.dtype != np.float32:
            raise ValueError(f"out is {out.dtype} {out.shape}; float32 {shape} is needed")
        out[len(inputs) :] = 0.0
        for position, image in enumerate(inputs):
            if image is None:
                out[position] = 0.0  # the mean pixel, as in a collage
            elif image.shape != self.input_shape:
                raise ValueError(f"input {position} has shape {image.shape}; {self.input_shape} is needed")
            else:
                out[position] = image
        return out

    def _check(self, shape: tuple[int, ...], filled: Sequence[int]) -> None:
        least = max(filled, default=0) + 1
        if len(shape) != 2 or not least <= shape[0] <= self.capacity or shape[1] != self._columns:
            raise ValueError(f"output has shape {shape}; ({least} to {self.capacity}, {self._columns}) is needed")
