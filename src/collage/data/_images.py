"""Image files of a user's folder: with labels or without, of any sizes, decoded once and kept as pixels on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collage.data._pixels import PixelSet
from collage.data._source import Split
from collage.exceptions import DataMissing, InvalidImage
from collage.imaging import ImageLimits, Preprocessing, decode_image, to_pixels, useful_side

UNLABELLED = -1  # as a label: nobody has said what the image shows

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_LIMITS = ImageLimits(max_bytes=200 * 2**20, max_pixels=200_000_000)  # the user's own files
_KEPT_EVERY = 1024  # images: what a kill costs at most


@dataclass(frozen=True)
class ImageFiles:
    """n files under `root`, in a fixed order. labels: int64 (n,), indices of the single's classes, or UNLABELLED."""

    root: Path
    names: list[str]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, index: NDArray[np.int64]) -> ImageFiles:
        """The files at `index` (m,), in that order."""
        return ImageFiles(self.root, [self.names[i] for i in index], self.labels[index])

    def digest(self) -> str:
        """Changes when a file is added, removed, renamed or resized."""
        found = hashlib.sha256()
        for name in self.names:
            found.update(f"{name}\0{(self.root / name).stat().st_size}\0".encode())
        return found.hexdigest()


def find_images(root: Path, split: Split, *, classes: list[str] | None = None) -> ImageFiles:
    """JPEG, PNG and WebP files of a folder; with `classes`, labelled by the class folders that they lie in.

    Where `root` has a train/ folder, the splits are train/ and test/; else all is train. Without `classes`, files are
    found at any depth. Raises DataMissing where there are none, and for a class folder that is no class.
    """
    if not root.is_dir():
        raise DataMissing(f"{root}: no such folder of images")
    base = root / split if (root / "train").is_dir() else root
    if not base.is_dir() or (base == root and split == "test"):
        raise DataMissing(f"{root}: has no test images; put them into {root}/test")
    if classes is None:
        paths = [path for path in base.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
        names = sorted(path.relative_to(base).as_posix() for path in paths)
        labels = np.full(len(names), UNLABELLED, np.int64)
    else:
        names, labels = _labelled(base, classes)
    if not names:
        raise DataMissing(f"{base}: no JPEG, PNG or WebP file in it")
    return ImageFiles(base, names, labels)


def class_folders(root: Path) -> list[str]:
    """Names of the class folders in `root`, or in its train/, sorted; empty where there are none."""
    base = root / "train" if (root / "train").is_dir() else root
    return _folders(base) if base.is_dir() else []


def _folders(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.is_dir() and path.name[0] != ".")


def _labelled(base: Path, classes: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    folders = _folders(base)
    if not folders:
        raise DataMissing(f"{base}: no class folders in it; labels come from {base}/<class>/<image>.jpg")
    strange = [name for name in folders if name not in classes]
    if strange:
        raise DataMissing(f"{base / strange[0]}: the single knows no class of that name ({', '.join(classes[:3])}, …)")
    names, labels = [], []
    for folder in folders:
        found = sorted(path.name for path in (base / folder).iterdir() if path.suffix.lower() in _SUFFIXES)
        names += [f"{folder}/{name}" for name in found]
        labels += [classes.index(folder)] * len(found)
    return names, np.asarray(labels, np.int64)


def decode_files(
    images: ImageFiles, preprocessing: Preprocessing, start: int = 0, *, threads: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Pixels (size, size, C) of image `start` and all after it, in order, decoded ahead on threads.

    Pillow decodes and resizes without Python's lock. Raises InvalidImage that names an unreadable file.
    """
    shorter, count = useful_side(preprocessing), threads or os.cpu_count() or 1

    def work(name: str) -> NDArray[np.uint8]:
        try:
            data = (images.root / name).read_bytes()
        except OSError as error:
            raise InvalidImage(f"cannot be read ({error.strerror})", field=name) from error
        return to_pixels(decode_image(data, _LIMITS, field=name, shorter=shorter), preprocessing)

    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="collage-decode")
    try:
        for name in images.names[start:]:
            ahead.append(pool.submit(work, name))
            if len(ahead) > 16 * count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def keep_pixels(
    images: ImageFiles,
    preprocessing: Preprocessing,
    path: Path,
    classes: list[str],
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> PixelSet:
    """Decode all images once into the file `path`; the result reads from it, so it may be larger than memory.

    A second call for the same images decodes none, and one after a kill those that were left. `progress` is told the
    share done, 0..1. Raises InvalidImage that names an unreadable file.
    """
    shape = (len(images), preprocessing.size, preprocessing.size, preprocessing.channels)
    key = hashlib.sha256(f"{images.digest()} {preprocessing.model_dump_json()}".encode()).hexdigest()
    journal = path.with_suffix(".json")
    done = _done(journal, path, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    if done < len(images):
        kept = np.memmap(path, np.uint8, "r+" if done else "w+", shape=shape)
        for index, pixels in enumerate(decode_files(images, preprocessing, done), done):
            kept[index] = pixels
            if (index + 1) % _KEPT_EVERY == 0 or index + 1 == len(images):
                kept.flush()
                fresh = journal.with_suffix(".tmp")
                fresh.write_text(json.dumps({"key": key, "done": index + 1}))
                os.replace(fresh, journal)
                progress((index + 1) / len(images))
    # Copy on write: nobody can change the file, and torch takes only arrays that could be written to.
    return PixelSet(np.memmap(path, np.uint8, "c", shape=shape), images.labels, classes)


def _done(journal: Path, path: Path, key: str) -> int:
    if not (journal.exists() and path.exists()):
        return 0
    kept = json.loads(journal.read_text())
    return int(kept["done"]) if kept["key"] == key else 0
