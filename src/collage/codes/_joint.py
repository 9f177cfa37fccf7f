"""Codes whose output says something of a whole group: one missing answer is rebuilt from it and from all the others.

So one loss a group can be made good, and only when the singles of all other positions are there; a group that is not
full gives nothing back. Sources: parity models (Kosaian, Rashmi and Venkataraman, arXiv 1905.00863) and learned codes
(the same, arXiv 1806.01259).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from collage.codes._base import FloatArray, TileAnswer
from collage.dispatch import Source
from collage.imaging import Preprocessing

# A single that gives probabilities is coded by their logarithms, not below this: there, as with logits, a sum makes
# sense. Training does the same.
_LEAST_PROBABILITY = 1e-8


class JointCode(ABC):
    """k images become one of the single's own size; the job's output is one row, (1, classes).

    Where the single gives probabilities, rows are their logarithms until an answer is given. Raises ValueError for k
    below 2.
    """

    source: Source

    def __init__(
        self,
        k: int,
        preprocessing: Preprocessing,
        classes: int,
        output: Literal["logits", "probabilities"],
        temperature: float,
    ) -> None:
        if k < 2:
            raise ValueError(f"k must be at least 2, not {k}")
        if classes < 2:
            raise ValueError(f"classes must be at least 2, not {classes}")
        self.capacity = k
        self.classes = classes
        self.output = output
        self.temperature = temperature
        self.input_shape: tuple[int, int, int] = (preprocessing.channels, preprocessing.size, preprocessing.size)

    def encode(self, inputs: Sequence[FloatArray | None], out: FloatArray | None = None) -> FloatArray:
        """Tensors (C, H, W), exactly k of them -> float32 (1, C, H, W). Where `out` is given it is filled and returned.

        Raises ValueError for another number of inputs, for an absent one, and for a wrong shape of any or of `out`.
        """
        if len(inputs) != self.capacity:
            raise ValueError(f"{len(inputs)} inputs; this code needs exactly {self.capacity}")
        images: list[FloatArray] = []
        for position, image in enumerate(inputs):
            if image is None or image.shape != self.input_shape:
                shape = None if image is None else image.shape
                raise ValueError(f"input {position} has shape {shape}; {self.input_shape} is needed")
            images.append(image)
        needed = (1, *self.input_shape)
        if out is None:
            out = np.empty(needed, np.float32)
        elif out.shape != needed or out.dtype != np.float32:
            raise ValueError(f"out is {out.dtype} {out.shape}; float32 {needed} is needed")
        self._encode(images, out[0])
        return out

    def recoverable(self, filled: frozenset[int], present: frozenset[int]) -> frozenset[int]:
        """The one position of a full group whose single is missing; none where more are or the group is not full."""
        missing = filled - present
        return missing if len(filled) == self.capacity and len(missing) == 1 else frozenset()

    def decode(
        self, output: FloatArray, filled: Sequence[int], present: Mapping[int, FloatArray]
    ) -> dict[int, TileAnswer]:
        """Output (1, classes) or (classes,), and the others' scores in the single's form -> the missing one's answer.

        Confidence is the highest probability of the rebuilt scores, at the code's temperature. The answer is absent
        where the group is not full, where not exactly one is missing, and where anything is not finite. Raises
        ValueError for another shape and for a position that is none.
        """
        row = output[0] if output.ndim == 2 and len(output) == 1 else output
        if row.shape != (self.classes,):
            raise ValueError(f"output has shape {output.shape}; (1, {self.classes}) is needed")
        for position in filled:
            if not 0 <= position < self.capacity:
                raise ValueError(f"position {position} is none; they go from 0 to {self.capacity - 1}")
        known = frozenset(present) & frozenset(filled)
        wanted = self.recoverable(frozenset(filled), known)
        if not wanted:
            return {}
        (missing,) = wanted
        others = {position: self._linear(present[position]) for position in known}
        scores = np.asarray(self._rebuild(row, missing, others), np.float32)  # (classes,)
        if scores.shape != (self.classes,) or not np.isfinite(scores).all():
            return {}
        answer = _softmax(scores) if self.output == "probabilities" else scores
        return {missing: TileAnswer(answer, float(_softmax(scores / np.float32(self.temperature)).max()))}

    def _linear(self, scores: FloatArray) -> FloatArray:
        """The single's scores in the form that is coded."""
        if self.output == "logits":
            return scores
        return np.log(np.maximum(scores, _LEAST_PROBABILITY), dtype=np.float32)

    @abstractmethod
    def _encode(self, images: Sequence[FloatArray], out: FloatArray) -> None:
        """Fill `out` (C, H, W) from k images (C, H, W)."""

    @abstractmethod
    def _rebuild(self, row: FloatArray, missing: int, others: Mapping[int, FloatArray]) -> FloatArray:
        """The job's row (classes,) and the others', as they are coded -> the missing one's (classes,)."""


def _softmax(scores: FloatArray) -> FloatArray:
    shares = np.exp(scores - scores.max(), dtype=np.float32)
    return np.asarray(shares / shares.sum(), np.float32)
