"""Fashion-MNIST as its files, but only the images that come with the package."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collage.zoo import load_model, sample_images


@pytest.fixture(scope="session")
def samples() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 28, 28, 1) and labels (n,) of the shipped images."""
    classes = load_model("fashion-mnist-single").card.classes
    found = sample_images()
    pixels = np.stack([np.asarray(Image.open(sample.path)) for sample in found])[..., None]
    return pixels, np.array([classes.index(sample.label) for sample in found])


@pytest.fixture
def little_fashion(
    samples: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """The dataset fashion-mnist, with the shipped images as its test images."""
    pixels, labels = samples
    for kind, head, data in (("images-idx3", 16, pixels), ("labels-idx1", 8, labels)):
        with gzip.open(tmp_path / f"t10k-{kind}-ubyte.gz", "wb") as file:
            file.write(bytes(head) + data.astype(np.uint8).tobytes())
    monkeypatch.setenv("COLLAGE_FASHION_MNIST", str(tmp_path))
    return samples
