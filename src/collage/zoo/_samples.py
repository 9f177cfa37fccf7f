"""Test images that come with the package, so that the first command has something to classify on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_SAMPLES = Path(__file__).parent / "samples"


class Sample(NamedTuple):
    """A shipped test image: its PNG file, and its class by name."""

    path: Path
    label: str


def sample_images(dataset: str = "fashion-mnist") -> list[Sample]:
    """The shipped test images of a dataset, by class and number; empty for a dataset that is not shipped."""
    return [Sample(path, path.parent.name) for path in sorted((_SAMPLES / dataset).glob("*/*.png"))]
