"""Small images of random colours, and draws that are the same each time."""

from __future__ import annotations

import numpy as np
import torch

from collage.data import PixelSet
from collage.imaging import Preprocessing

PREPROCESSING = Preprocessing(size=12, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(count: int) -> PixelSet:
    pixels = np.random.default_rng(0).integers(256, size=(count, 12, 12, 3), dtype=np.uint8)
    return PixelSet(pixels, np.arange(count) % 3, ["a", "b", "c"])
