"""What goes into the data plane and what comes out of it, whatever the transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

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


class Stages(NamedTuple):
    """Where a query's time went, seconds; they add up to all of it.

    prepare: reading the image. queue: until the job that answered it started. compute: that job. output: until its
    answer was given: reading it, and where a backup's answer was kept back, waiting for the single.
    """

    prepare: float = 0.0
    queue: float = 0.0
    compute: float = 0.0
    output: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """One query's answer.

    scores: float32 (classes,), logits or probabilities as the single gives them. confidence: highest probability, 0..1.
    seconds: from submission to answer; stages: what they went into. temperature: what calibrates these scores as it
    did the confidence.
    """

    scores: NDArray[np.float32]
    label: str
    index: int
    source: Source
    degraded: bool
    confidence: float
    seconds: float
    temperature: float = 1.0
    stages: Stages = field(default_factory=Stages)
