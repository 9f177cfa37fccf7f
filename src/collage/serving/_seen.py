"""A collage that came back, as a watcher (the first page) is shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import JobId, QueryId
from collage.serving._kept import BackupJob


@dataclass(frozen=True, slots=True)
class TileSeen:
    """One filled tile. label: None where the model gave no class. used: the client was given this answer."""

    query: QueryId
    label: str | None
    confidence: float
    used: bool


@dataclass(frozen=True, slots=True, eq=False)
class CollageSeen:
    """A collage and what it said. canvas: float32 (C, H, W), normalised; tiles: row by row, None: blank."""

    job: JobId
    canvas: NDArray[np.float32]
    tiles: tuple[TileSeen | None, ...]

    @classmethod
    def of(cls, backup: BackupJob, classes: Sequence[str]) -> Self:
        """As it stands now: `used` grows while the group's queries are answered."""
        tiles: list[TileSeen | None] = [None] * backup.capacity
        for position, query in enumerate(backup.queries):
            answer = backup.answers.get(position)
            tiles[position] = TileSeen(
                query=query,
                label=None if answer is None else classes[int(answer.scores.argmax())],
                confidence=0.0 if answer is None else answer.confidence,
                used=position in backup.used,
            )
        return cls(backup.job, backup.canvas[0], tuple(tiles))
