"""Fashion-MNIST (Zalando Research, MIT licence) as Debian packages it: gzipped IDX files."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collage.data._source import File, Split
from collage.exceptions import DataMissing

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_PREFIX = {"train": "train", "test": "t10k"}


class FashionMnist:
    """60,000 training and 10,000 test images, grey, 28 x 28."""

    name = "fashion-mnist"
    licence = "MIT (Zalando SE)"

    def __init__(self) -> None:
        self.classes = [
            "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
        ]  # fmt: skip
        self.root = Path(os.environ.get("COLLAGE_FASHION_MNIST", _DEBIAN))

    def count(self, split: Split) -> int:
        """Images in a split."""
        return len(self._idx(split, "labels-idx1", header=8))

    def files(self, split: Split, every: int = 1) -> Iterator[File]:
        """PNG files made of the IDX arrays, in the dataset's own order."""
        images, labels = (
            self._idx(split, "images-idx3", header=16).reshape(-1, 28, 28),
            self._idx(split, "labels-idx1", header=8),
        )
        for index in range(0, len(labels), every):
            label, buffer = labels[index], io.BytesIO()
            Image.fromarray(images[index]).save(buffer, "PNG", compress_level=1)
            yield File(f"{self.classes[label]}/{index:05d}.png", buffer.getvalue(), int(label))

    def _idx(self, split: Split, kind: str, header: int) -> NDArray[np.uint8]:
        path = self.root / f"{_PREFIX[split]}-{kind}-ubyte.gz"
        if not path.is_file():
            raise DataMissing(
                f"{path} is not there: run 'apt-get install dataset-fashion-mnist', or put the four .gz files of "
                "Fashion-MNIST into a folder and name it in COLLAGE_FASHION_MNIST"
            )
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)
