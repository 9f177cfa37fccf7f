"""The images that a bench sends, their labels, and what the single alone says of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collage.data import File, open_dataset
from collage.exceptions import DataMissing
from collage.imaging import decode_image, to_tensor, useful_side
from collage.zoo import LoadedModel, open_session, sample_images


@dataclass(frozen=True)
class BenchImages:
    """n labelled images. files: encoded; labels: int64 (n,); right: bool (n,), whether the single alone is right."""

    files: list[bytes]
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    origin: str

    def __len__(self) -> int:
        return len(self.files)


def load_images(dataset: str, limit: int, single: LoadedModel) -> BenchImages:
    """Test images of the dataset, or the shipped samples of it where the dataset is not on this machine.

    Raises DataMissing where there is neither, or where the dataset's classes are not the model's.
    """
    files, origin = _find(dataset, limit, single)
    labels = np.asarray([file.label for file in files], np.int64)
    return BenchImages([file.data for file in files], labels, _predict(single, files) == labels, origin)


def describe_images(dataset: str, limit: int, single: LoadedModel) -> str:
    """Which images `load_images` takes, and how many. Raises as it does."""
    return _find(dataset, limit, single)[1]


def _find(dataset: str, limit: int, single: LoadedModel) -> tuple[list[File], str]:
    classes = single.card.classes
    try:
        found = open_dataset(dataset)
        if list(found.classes) != classes:
            raise DataMissing(f"dataset: {dataset}: its classes are not those of {single.card.name}")
        files = list(found.files("test"))
    except DataMissing:
        samples = sample_images(dataset)[:limit]
        if not samples:
            raise
        return (
            [File(path.name, path.read_bytes(), classes.index(label)) for path, label in samples],
            f"{dataset}, the {len(samples)} shipped test images",
        )
    # Image folders are sorted by class: images spread evenly keep every class.
    if len(files) > limit:
        files = [files[index] for index in np.linspace(0, len(files) - 1, limit).astype(int)]
    return files, f"{dataset}, {len(files)} of its test images"


def _predict(single: LoadedModel, files: list[File]) -> NDArray[np.int64]:
    """Classes (n,) that the single gives on its own, one image a call, as a worker calls it."""
    session = open_session(single.path)
    name = session.get_inputs()[0].name
    preprocessing, answers = single.card.preprocessing, []
    for file in files:
        image = decode_image(file.data, field=file.name, shorter=useful_side(preprocessing))
        tensor = to_tensor(image, preprocessing)  # (C, H, W)
        (scores,) = session.run(None, {name: tensor[None]})  # (1, classes)
        answers.append(int(np.argmax(scores)))
    return np.asarray(answers, np.int64)
