"""Images that come again: a share of the queries show the image of one shortly before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from collage.dispatch import QueryId

_CHUNK = 4096


class Again:
    """Draws which queries are repeats, and of what, by numbers of its own: other images stay what they were.

    share: of queries that repeat. among: queries before it of which one is repeated.
    """

    def __init__(self, share: float, among: int, rng: np.random.Generator) -> None:
        self._share, self._rng = share, rng
        self._recent: deque[tuple[QueryId, int]] = deque(maxlen=among)  # the first query of an image, and the image
        self._drawn: list[float] = []

    def shows(self, query: QueryId, new: Callable[[], int]) -> tuple[QueryId, int]:
        """The first query of the image that this one shows, itself where it is new, and the image. new: draws one."""
        if not self._drawn:
            self._drawn = self._rng.random(_CHUNK).tolist()
        drawn, fresh = self._drawn.pop() / self._share, (query, new())
        shown = self._recent[int(drawn * len(self._recent))] if drawn < 1 and self._recent else fresh
        self._recent.append(shown)
        return shown
