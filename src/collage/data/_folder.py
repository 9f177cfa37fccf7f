"""An image folder: one sub-folder a class, files of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from collage.data._source import File, Split
from collage.exceptions import DataMissing

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class ImageFolder:
    """`root/<class>/*` or `root/train/<class>/*` and `root/test/<class>/*`. Classes are sorted by name."""

    licence = "unknown"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.name
        self._split = (root / "train").is_dir()
        base = root / "train" if self._split else root
        self.classes = sorted(path.name for path in base.iterdir() if path.is_dir())
        if not self.classes:
            raise DataMissing(f"{base}: no class folders in it; an image folder looks like {base}/<class>/<image>.jpg")

    def files(self, split: Split) -> Iterator[File]:
        """The images of a split; a folder without train/ and test/ has only a train split."""
        base = self.root / split if self._split else self.root
        if not self._split and split == "test":
            raise DataMissing(f"{self.root}: has no test images; put them into {self.root}/test/<class>/")
        for label, name in enumerate(self.classes):
            for path in sorted((base / name).iterdir() if (base / name).is_dir() else []):
                if path.suffix.lower() in _SUFFIXES:
                    yield File(f"{name}/{path.name}", path.read_bytes(), label)
