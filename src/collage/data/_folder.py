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
        self.classes = sorted(path.name for path in base.iterdir() if path.is_dir() and path.name[0] != ".")
        if not self.classes:
            raise DataMissing(f"{base}: no class folders in it; an image folder looks like {base}/<class>/<image>.jpg")

    def count(self, split: Split) -> int:
        """Images in a split; a folder without train/ and test/ has only a train split."""
        return len(self._paths(split))

    def files(self, split: Split, every: int = 1) -> Iterator[File]:
        """The images of a split, by class and name."""
        for path in self._paths(split)[::every]:
            name = path.parent.name
            yield File(f"{name}/{path.name}", path.read_bytes(), self.classes.index(name))

    def _paths(self, split: Split) -> list[Path]:
        base = self.root / split if self._split else self.root
        if not self._split and split == "test":
            raise DataMissing(f"{self.root}: has no test images; put them into {self.root}/test/<class>/")
        folders = [base / name for name in self.classes if (base / name).is_dir()]
        return [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
