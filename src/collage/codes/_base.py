"""What a code is: how one backup job is made of several queries, and how its answer gives theirs back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import Source

FloatArray = NDArray[np.float32]


class TileAnswer(NamedTuple):
    """A backup's answer for one query: scores (classes,) in the single's own form, and its confidence, 0..1."""

    scores: FloatArray
    confidence: float


class Code(Protocol):
    """A code. Positions count from 0; in a collage they are tiles, row by row."""

    source: Source
    capacity: int  # queries one backup job can hold
    input_shape: tuple[int, int, int]  # of one query's tensor (C, H, W), as `encode` takes it

    def encode(self, inputs: Sequence[FloatArray | None], out: FloatArray | None = None) -> FloatArray:
        """Tensors (C, H, W), one per position (None: blank) -> the backup model's input (1, C', H', W').

        `out` is filled and returned where given. Raises ValueError for more inputs than `capacity` or a wrong shape.
        """

    def recoverable(self, filled: frozenset[int], present: frozenset[int]) -> frozenset[int]:
        """Which positions the backup's output gives back when the singles of `present` are already there.

        A collage gives all that are filled; a parity only a single missing one.
        """

    def decode(
        self, output: FloatArray, filled: Sequence[int], present: Mapping[int, FloatArray]
    ) -> dict[int, TileAnswer]:
        """Backup output -> answers by position. A position that is not in the answer is unknown.

        `present` holds the singles' scores by position, for codes that subtract them. Raises ValueError for an output
        of a wrong shape; values that are not finite make the tiles they belong to unknown.
        """
