"""CIFAR-10 (Krizhevsky 2009) as a tar of JPEG files: train/<class>/*.jpg and test/<class>/*.jpg."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from collage.data._source import File, Split, data_folders
from collage.exceptions import DataMissing

_ARCHIVE = "cifar10-jpeg.tar.xz"


class Cifar10:
    """50,000 training and 8,000 test images, colour, 32 x 32: a JPEG copy, so not the official pixels bit for bit."""

    name = "cifar-10"
    licence = "none stated: use, do not redistribute"

    def __init__(self) -> None:
        self.classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def count(self, split: Split) -> int:
        """Images in a split."""
        with tarfile.open(self._archive(), "r:xz") as tar:
            return sum(1 for _ in self._members(tar, split))

    def files(self, split: Split, every: int = 1) -> Iterator[File]:
        """The JPEG files of a split, in the archive's order."""
        with tarfile.open(self._archive(), "r:xz") as tar:
            for member, label, name in islice(self._members(tar, split), 0, None, every):
                file = tar.extractfile(member)
                if file is not None:
                    yield File(f"{label}/{name}", file.read(), self.classes.index(label))

    def _members(self, tar: tarfile.TarFile, split: Split) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
        for member in tar:
            parts = Path(member.name).parts[-3:]
            if member.isfile() and len(parts) == 3 and parts[0] == split and parts[1] in self.classes:
                yield member, parts[1], parts[2]

    def _archive(self) -> Path:
        folders = data_folders()
        for folder in folders:
            if (folder / _ARCHIVE).is_file():
                return folder / _ARCHIVE
        raise DataMissing(
            f"{_ARCHIVE} is in none of {', '.join(map(str, folders))}: name its folder in COLLAGE_DATA, "
            "or unpack CIFAR-10 as an image folder and give that folder as the dataset"
        )
