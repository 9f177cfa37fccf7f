"""Asking a model about tiles that are pixels, as clients send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from collage.imaging import normalise
from collage.training import Answers, Caller
from collage.zoo import LoadedModel

Pixels = NDArray[np.uint8]  # (S, S, C)
FloatArray = NDArray[np.float32]
Group = Sequence[Pixels | None]  # by tile; None, or missing: blank
Told = Callable[[float], None]

_BATCH = 32


class Asker:
    """One model, asked about groups of tiles through its own code and file."""

    def __init__(self, model: LoadedModel) -> None:
        self.card = model.card
        self._caller = Caller(model)
        self.tiles = self._caller.tiles

    def columns(self, groups: Sequence[Group], told: Told = lambda share: None) -> FloatArray:
        """Raw columns (m, N, K) of m groups. `told` is given the share done, 0..1."""
        found = []
        for start in range(0, len(groups), _BATCH):
            batch = groups[start : start + _BATCH]
            found.append(self._caller.columns([[self._tensor(tile) for tile in group] for group in batch]))
            told(min(1.0, (start + _BATCH) / len(groups)))
        return np.concatenate(found)

    def answers(self, groups: Sequence[Group], told: Told = lambda share: None) -> Answers:
        """Class index and confidence of each tile (m, N), as serving decodes them; blank tiles are asked about too."""
        return self._caller.answers(self.columns(groups, told))

    def read(self, columns: FloatArray) -> Answers:
        """The answers (m, N) that columns (m, N, K) are."""
        return self._caller.answers(columns)

    def _tensor(self, tile: Pixels | None) -> FloatArray | None:
        return None if tile is None else normalise(tile, self.card.preprocessing)
