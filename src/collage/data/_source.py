"""What a dataset is: named classes, and encoded images with labels, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

Split = Literal["train", "test"]


class File(NamedTuple):
    """One encoded image (JPEG, PNG or WebP) and its class, as an index into the dataset's `classes`."""

    name: str
    data: bytes
    label: int


class Dataset(Protocol):
    """A dataset. The order of `files` never changes, so an index names an image."""

    name: str
    classes: list[str]
    licence: str

    def count(self, split: Split) -> int:
        """How many images a split has. Raises DataMissing where they are not on this machine."""

    def files(self, split: Split, every: int = 1) -> Iterator[File]:
        """Every `every`-th image of a split, in order. Raises DataMissing as `count` does."""


def data_folders() -> list[Path]:
    """Where downloaded datasets are looked for: $COLLAGE_DATA, then ./data, then ../shared/data."""
    named = os.environ.get("COLLAGE_DATA")
    return [Path(named)] if named else [Path("data"), Path("../shared/data")]
