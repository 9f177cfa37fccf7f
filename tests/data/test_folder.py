"""Any image folder is a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collage.data import load_pixels, open_dataset
from collage.exceptions import DataMissing, InvalidImage
from collage.imaging import Preprocessing

GREY = Preprocessing(size=16, channels=1, mean=(0.5,), std=(0.5,))


def test_a_folder_with_train_and_test(patterns: Path) -> None:
    dataset = open_dataset(str(patterns))
    assert (dataset.name, dataset.classes) == ("patterns", ["across", "down", "middle"])
    files = list(dataset.files("test"))
    assert len(files) == dataset.count("test") == 30
    assert [file.name for file in files[8:12]] == ["across/08.png", "across/09.png", "down/00.png", "down/01.png"]
    assert [file.label for file in files] == [0] * 10 + [1] * 10 + [2] * 10
    assert files[0].data == (patterns / "test/across/00.png").read_bytes()


def test_pixels_are_those_of_the_files(patterns: Path) -> None:
    images = load_pixels(open_dataset(str(patterns)), "test", GREY)
    assert (images.pixels.shape, images.pixels.dtype, images.labels.dtype) == ((30, 16, 16, 1), np.uint8, np.int64)
    with Image.open(patterns / "test/middle/09.png") as image:
        assert (images.pixels[-1, :, :, 0] == np.asarray(image)).all()


@pytest.mark.parametrize("limit", [3, 7, 30, 99])
def test_a_limit_takes_images_of_all_classes(patterns: Path, limit: int) -> None:
    images = load_pixels(open_dataset(str(patterns)), "test", GREY, limit=limit)
    assert len(images) == min(limit, 30)
    assert set(images.labels) == {0, 1, 2}


def test_a_folder_without_splits_has_only_training_images(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 10), "red").save(tmp_path / name / "x.JPG", "JPEG")
    (tmp_path / "a/notes.txt").write_text("no image")
    (tmp_path / "read-me.txt").write_text("no class")
    dataset = open_dataset(str(tmp_path))
    assert dataset.classes == ["a", "b"]
    assert [file.name for file in dataset.files("train")] == ["a/x.JPG", "b/x.JPG"]
    with pytest.raises(DataMissing, match="no test images"):
        dataset.count("test")


def test_a_class_without_test_images_keeps_its_label(tmp_path: Path) -> None:
    for path in ("train/a", "train/b", "test/b"):
        (tmp_path / path).mkdir(parents=True)
        Image.new("L", (16, 16)).save(tmp_path / path / "0.png")
    assert [file.label for file in open_dataset(str(tmp_path)).files("test")] == [1]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no dataset 'no-such-data': give a folder of images, or one of cifar-10"):
        open_dataset("no-such-data")
    with pytest.raises(DataMissing, match="no class folders"):
        open_dataset(str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(DataMissing, match="no images in its train split"):
        load_pixels(open_dataset(str(tmp_path)), "train", GREY)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InvalidImage, match=r"a/broken\.png"):
        load_pixels(open_dataset(str(tmp_path)), "train", GREY)
