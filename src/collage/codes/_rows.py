"""What codes share whose model answers with one row of columns for each image: each image's answer stands by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from collage.codes._base import FloatArray, TileAnswer
from collage.dispatch import Source
from collage.imaging import Preprocessing

_LEAST = 1e-12  # a probability whose logarithm is taken
_SLACK = 1e-3  # how far rounding may take a probability beyond 0..1


class RowsCode:
    """N images, N rows. `unknown`: the last column says "nothing to see here". Raises ValueError for one class."""

    source: Source

    def __init__(
        self,
        capacity: int,
        preprocessing: Preprocessing,
        classes: int,
        *,
        unknown: bool = False,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        if classes < 2:
            raise ValueError(f"classes must be at least 2, not {classes}")
        self.capacity = capacity
        self.classes = classes
        self.unknown = unknown
        self.output = output
        self.temperature = temperature
        self.input_shape: tuple[int, int, int] = (preprocessing.channels, preprocessing.size, preprocessing.size)
        self._columns = classes + unknown

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
        if len(rows) == 1 and self.output == "logits":
            return self._one(rows[0], filled[0])
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

    def _one(self, row: FloatArray, position: int) -> dict[int, TileAnswer]:
        """The same of one row (K,) of logits: most jobs are singles, and arrays of one row cost as much as of many."""
        best = int(row.argmax())  # NaN, where there is one
        top = row[best]
        if best >= self.classes or not (math.isfinite(top) and math.isfinite(row.min())):
            return {}
        temperature = np.float32(self.temperature)
        powers = np.exp(row / temperature - top / temperature, dtype=np.float32)
        return {position: TileAnswer(row[: self.classes], float(powers[best] / powers.sum()))}

    def _rows(self, output: FloatArray, filled: Sequence[int]) -> FloatArray:
        """The rows (filled, K) of the filled positions, in their order. Raises as `decode` does."""
        if output.ndim == 3 and output.shape[0] == 1:
            output = output[0]
        for position in filled:
            if not 0 <= position < self.capacity:
                raise ValueError(f"position {position} is no tile; they go from 0 to {self.capacity - 1}")
        self._check(output.shape, filled)
        if len(filled) == 1:
            return output[filled[0] : filled[0] + 1].astype(np.float32)
        return np.asarray(output[np.asarray(filled, dtype=np.intp)], dtype=np.float32)

    def _check(self, shape: tuple[int, ...], filled: Sequence[int]) -> None:
        """Raises ValueError unless an output of this shape has a row for every position."""
        if shape != (self.capacity, self._columns):
            raise ValueError(f"output has shape {shape}; (1, {self.capacity}, {self._columns}) is needed")


def _softmax(rows: NDArray[np.floating]) -> FloatArray:
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True), dtype=np.float32)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
