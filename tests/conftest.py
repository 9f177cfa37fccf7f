"""A small image folder that any classifier can learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 16
COUNTS = {"train": 48, "test": 10}  # images a class


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with grey 16 x 16 PNG files of three classes: stripes across, stripes down, a bright middle."""
    root = tmp_path_factory.mktemp("data") / "patterns"
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:SIDE, :SIDE]
    pictures = {
        "across": (row // 2 % 2) * 255,
        "down": (column // 2 % 2) * 255,
        "middle": (np.hypot(row - 7.5, column - 7.5) < 5) * 255,
    }
    for split, count in COUNTS.items():
        for name, picture in pictures.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = 0.6 * picture + rng.uniform(0, 100, (SIDE, SIDE))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return root
