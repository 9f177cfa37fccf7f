"""Fashion-MNIST and CIFAR-10, where they are on this machine."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from collage.data import load_pixels, open_dataset
from collage.exceptions import DataMissing
from collage.imaging import Preprocessing

IDX = Path(os.environ.get("COLLAGE_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
CIFAR = Path(os.environ.get("COLLAGE_DATA", "../shared/data")) / "cifar10-jpeg.tar.xz"

fashion_mnist = pytest.mark.skipif(not IDX.is_dir(), reason="Fashion-MNIST is absent (Debian: dataset-fashion-mnist)")
cifar_10 = pytest.mark.skipif(not CIFAR.is_file(), reason=f"no {CIFAR.name}; COLLAGE_DATA names its folder")


@fashion_mnist
def test_fashion_mnist_keeps_every_pixel() -> None:
    dataset = open_dataset("fashion-mnist")
    assert (dataset.count("train"), dataset.count("test"), len(dataset.classes)) == (60_000, 10_000, 10)
    preprocessing = Preprocessing(size=28, channels=1, mean=(0.0,), std=(1.0,))
    images = load_pixels(dataset, "test", preprocessing, limit=100)
    with gzip.open(IDX / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    assert (images.pixels == pixels[::100]).all()
    names = [file.name for file in dataset.files("test", every=5000)]
    assert names == ["ankle-boot/00000.png", f"{dataset.classes[_label(5000)]}/05000.png"]


def _label(index: int) -> int:
    with gzip.open(IDX / "t10k-labels-idx1-ubyte.gz") as file:
        return file.read()[8 + index]


@cifar_10
def test_cifar_10_has_its_test_images() -> None:
    dataset = open_dataset("cifar-10")
    images = load_pixels(dataset, "test", Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert images.pixels.shape == (8000, 32, 32, 3)
    assert Counter(images.labels.tolist()) == dict.fromkeys(range(10), 800)
    assert len({pixels.tobytes() for pixels in images.pixels}) > 7900


def test_an_absent_dataset_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_FASHION_MNIST", str(tmp_path))
    monkeypatch.setenv("COLLAGE_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match="apt-get install dataset-fashion-mnist"):
        open_dataset("fashion-mnist").count("test")
    with pytest.raises(DataMissing, match="COLLAGE_DATA"):
        next(open_dataset("cifar-10").files("train"))
