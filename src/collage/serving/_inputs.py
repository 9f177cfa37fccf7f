"""What goes into the data plane and what comes out of it, whatever the transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import Source


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An image as a file: JPEG, PNG or WebP bytes."""

    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A decoded image of any size, uint8 (H, W, C), C = 1 (grey) or 3 (RGB)."""

    array: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """The single's own input: float32 (C, H, W), already normalised."""

    array: NDArray[np.float32]


ImageInput = Encoded | Pixels | Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """One query's answer.

    scores: float32 (classes,), logits or probabilities as the single gives them. confidence: highest probability, 0..1.
    seconds: from submission to answer. temperature: what calibrates these scores as it did the confidence.
    """

    scores: NDArray[np.float32]
    label: str
    index: int
    source: Source
    degraded: bool
    confidence: float
    seconds: float
    temperature: float = 1.0
