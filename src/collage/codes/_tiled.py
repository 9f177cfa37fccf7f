"""Codes that put whole images side by side: the collage, and, as pictures of one tile, replica and cheap single.

Source of the collage: Narra et al., "Collage Inference", arXiv 1904.12222. There a detector answers with boxes; here
the model answers for each tile directly, and says "unknown" where it sees nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from collage.codes._base import FloatArray, TileAnswer
from collage.dispatch import Source
from collage.imaging import Preprocessing

_BLANK = 0.0  # the mean pixel, in training too
_LEAST = 1e-12  # a probability whose logarithm is taken
_SLACK = 1e-3  # how far rounding may take a probability beyond 0..1


class _TiledCode:
    """Grid x grid tiles, row by row; the model's output has one row of columns per tile."""

    source: Source

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
        if classes < 2:
            raise ValueError(f"classes must be at least 2, not {classes}")
        self.grid = grid
        self.capacity = grid * grid
        self.classes = classes
        self.unknown = unknown
        self.output = output
        self.temperature = temperature
        self.input_shape: tuple[int, int, int] = (preprocessing.channels, preprocessing.size, preprocessing.size)
        self._canvas_shape = (1, preprocessing.channels, grid * preprocessing.size, grid * preprocessing.size)
        self._columns = classes + unknown

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

    def recoverable(self, filled: frozenset[int], present: frozenset[int]) -> frozenset[int]:
        """All that are filled: each tile's answer stands by itself."""
        return filled

    def decode(
        self, output: FloatArray, filled: Sequence[int], present: Mapping[int, FloatArray]
    ) -> dict[int, TileAnswer]:
        """Output (1, N, K) or (N, K), N tiles, K columns -> answers of the filled positions; absent: unknown.

        Confidence is the probability of the answer among all columns, "unknown" too, at the code's temperature (Guo et
        al., arXiv 1706.04599); scores leave that column out, and know no temperature.
        Raises ValueError for another shape and for a position that is no tile.
        """
        rows = self._rows(output, filled)  # (filled, K)
        usable = np.logical_and.reduce(np.isfinite(rows), axis=1)
        if self.output == "logits":
            scores = rows[:, : self.classes]
            probabilities = _softmax(np.where(usable[:, None], rows, 0.0) / np.float32(self.temperature))
        else:
            usable &= (rows >= -_SLACK).all(axis=1) & (rows <= 1 + _SLACK).all(axis=1)
            known = rows[:, : self.classes].clip(0.0, 1.0)
            with np.errstate(invalid="ignore", divide="ignore"):  # a row without any probability is dropped below
                scores = known / known.sum(axis=1, keepdims=True) if self.unknown else rows
            usable &= known.sum(axis=1) > 0.0
            probabilities = rows.clip(0.0, 1.0)
            if self.temperature != 1.0:
                probabilities = _softmax(np.log(probabilities.clip(_LEAST)) / np.float32(self.temperature))
        best = probabilities.argmax(axis=1)
        usable &= best < self.classes
        return {
            position: TileAnswer(scores[i].astype(np.float32), float(probabilities[i, best[i]]))
            for i, position in enumerate(filled)
            if usable[i]
        }

    def _rows(self, output: FloatArray, filled: Sequence[int]) -> FloatArray:
        shape = output.shape
        if output.ndim == 3 and shape[0] == 1:
            output = output[0]
        if output.shape != (self.capacity, self._columns):
            raise ValueError(f"output has shape {shape}; (1, {self.capacity}, {self._columns}) is needed")
        for position in filled:
            if not 0 <= position < self.capacity:
                raise ValueError(f"position {position} is no tile; they go from 0 to {self.capacity - 1}")
        return np.asarray(output[np.asarray(filled, dtype=np.intp)], dtype=np.float32)


def _softmax(rows: NDArray[np.floating]) -> FloatArray:
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True), dtype=np.float32)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)


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
