"""Jobs for every engine: inputs whose right answer is known, and one that never ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

Run = Callable[[Coroutine[Any, Any, None]], None]
FOREVER = 1000.0  # seconds: a job that never ends within a test


def image(*means: float, side: int = 4) -> np.ndarray:
    """(1, C, side, side), each channel of one value."""
    return np.broadcast_to(np.float32(means).reshape(1, -1, 1, 1), (1, len(means), side, side))


RGB = image(0.25, 0.5, 0.75)
