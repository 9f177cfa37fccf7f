"""Parity: k images in one, whose model answers with the sum of the single's k outputs; decoding subtracts the others.

Source: Kosaian, Rashmi and Venkataraman, "Parity Models", SOSP 2019, arXiv 1905.00863.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from collage.codes._base import FloatArray
from collage.codes._joint import JointCode
from collage.dispatch import Source
from collage.imaging import Preprocessing

Encoder = Literal["sum", "concat"]

_LAYOUTS = {2: (1, 2), 4: (2, 2)}  # of images side by side, rows and columns, by k


def concat_layout(k: int, size: int) -> tuple[int, int]:
    """Rows and columns in which k images of `size` pixels a side are put side by side.

    Raises ValueError for a k that fills no picture, or a size that does not divide.
    """
    if k not in _LAYOUTS:
        raise ValueError(f"concat takes {' or '.join(map(str, _LAYOUTS))} images, not {k}")
    rows, columns = _LAYOUTS[k]
    if size % rows or size % columns:
        raise ValueError(f"concat halves its images: {size} pixels a side is odd")
    return rows, columns


class ParityCode(JointCode):
    """Encoders: `sum` adds the normalised images; `concat` scales each down (area means) and puts them side by side.

    With `concat`, two images lie beside each other, each at half its width; four in a 2x2, each at half its width and
    height. Raises ValueError for k below 2, and for a k or a size that `concat` cannot do.
    """

    source = Source.PARITY

    def __init__(
        self,
        k: int,
        encoder: Encoder,
        preprocessing: Preprocessing,
        classes: int,
        *,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(k, preprocessing, classes, output, temperature)
        self.encoder = encoder
        self._layout = concat_layout(k, preprocessing.size) if encoder == "concat" else None

    def _encode(self, images: Sequence[FloatArray], out: FloatArray) -> None:
        if self._layout is None:
            np.add(images[0], images[1], out=out)
            for image in images[2:]:
                out += image
            return
        rows, columns = self._layout
        channels, height, width = self.input_shape
        h, w = height // rows, width // columns
        for position, image in enumerate(images):
            row, column = divmod(position, columns)
            blocks = image.reshape(channels, h, rows, w, columns)
            blocks.mean(axis=(2, 4), out=out[:, row * h : (row + 1) * h, column * w : (column + 1) * w])

    def _rebuild(self, row: FloatArray, missing: int, others: Mapping[int, FloatArray]) -> FloatArray:
        rebuilt = row.astype(np.float32)
        for scores in others.values():
            rebuilt -= scores
        return rebuilt
