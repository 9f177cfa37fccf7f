"""A split in memory, as the pixels that a model's preprocessing gives."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from collage.data._source import Dataset, Split
from collage.exceptions import DataMissing
from collage.imaging import Preprocessing, decode_image, to_pixels, useful_side


@dataclass(frozen=True)
class PixelSet:
    """pixels: uint8 (n, S, S, C), resized and cropped, not yet normalised; labels: int64 (n,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> PixelSet:
        """The images at `index` (m,), in that order."""
        return PixelSet(self.pixels[index], self.labels[index], self.classes)


def load_pixels(dataset: Dataset, split: Split, preprocessing: Preprocessing, *, limit: int | None = None) -> PixelSet:
    """Decode a split through the one preprocessing. `limit` takes images spread evenly over the split's order.

    Raises DataMissing where the split is absent or empty, InvalidImage (naming the file) for an unreadable one.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    # Image folders are sorted by class: an even stride keeps every class in a small sample.
    every = 1 if limit is None else max(1, dataset.count(split) // limit)
    shorter = useful_side(preprocessing)
    for file in islice(dataset.files(split, every), limit):
        pixels.append(to_pixels(decode_image(file.data, field=file.name, shorter=shorter), preprocessing))
        labels.append(file.label)
    if not labels:
        raise DataMissing(f"{dataset.name}: no images in its {split} split")
    return PixelSet(np.stack(pixels), np.asarray(labels, np.int64), dataset.classes)


def split_validation(images: PixelSet, count: int, seed: int) -> tuple[PixelSet, PixelSet]:
    """Training images -> (training, validation of `count`), drawn once by `seed`; both keep the original order.

    Raises DataMissing where fewer than 2 x count images are there.
    """
    if 2 * count > len(images):
        raise DataMissing(f"validation of {count} needs at least {2 * count} training images; there are {len(images)}")
    order = np.random.default_rng(seed).permutation(len(images))
    return images.take(np.sort(order[count:])), images.take(np.sort(order[:count]))
