"""A dataset by name or by folder."""

from __future__ import annotations

from pathlib import Path

from collage.data._cifar10 import Cifar10
from collage.data._fashion_mnist import FashionMnist
from collage.data._folder import ImageFolder
from collage.data._source import Dataset
from collage.exceptions import DataMissing

_NAMED: dict[str, type[FashionMnist] | type[Cifar10]] = {"fashion-mnist": FashionMnist, "cifar-10": Cifar10}


def open_dataset(name: str) -> Dataset:
    """A named dataset, or any image folder (`DIR/<class>/*`, or `DIR/train/<class>/*` and `DIR/test/<class>/*`).

    Raises DataMissing, with a way to get it, where there is neither.
    """
    if name in _NAMED:
        return _NAMED[name]()
    if name and Path(name).is_dir():
        return ImageFolder(Path(name))
    raise DataMissing(f"no dataset {name!r}: give a folder of images, or one of {', '.join(sorted(_NAMED))}")
