"""Files of a user's folder: found in order, decoded once, kept on disk, gone on with after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from collage.data import UNLABELLED, class_folders, decode_files, find_images, keep_pixels, load_pixels, open_dataset
from collage.data import _images as images_module
from collage.exceptions import DataMissing, InvalidImage
from collage.imaging import Preprocessing

GREY = Preprocessing(size=12, resize=14, channels=1, mean=(0.5,), std=(0.5,))
CLASSES = ["across", "down", "middle"]


def test_labelled_files_are_those_of_the_dataset(patterns: Path) -> None:
    """In the same order, so that what one training keeps out another command finds."""
    found = find_images(patterns, "train", classes=CLASSES)
    images = load_pixels(open_dataset(str(patterns)), "train", GREY)
    assert class_folders(patterns) == CLASSES
    assert (found.labels == images.labels).all()
    assert (np.stack(list(decode_files(found, GREY))) == images.pixels).all()
    assert (np.stack(list(decode_files(found, GREY, 100, threads=3))) == images.pixels[100:]).all()


def test_labels_are_in_the_singles_order(patterns: Path) -> None:
    classes = ["none", "middle", "across", "down"]
    found = find_images(patterns, "test", classes=classes)
    assert [classes[label] for label in found.labels] == [name.split("/")[0] for name in found.names]


def test_unlabelled_files_are_found_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.png", "x/a.JPG", "x/y/c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name == "notes.txt":
            (tmp_path / name).write_text("no image")
        else:
            Image.new("RGB", (20, 30), "red").save(tmp_path / name)
    found = find_images(tmp_path, "train")
    assert found.names == ["b.png", "x/a.JPG", "x/y/c.webp"]
    assert (found.labels == UNLABELLED).all()
    part = found.take(np.array([2, 0]))
    assert part.names == ["x/y/c.webp", "b.png"]
    assert part.digest() != found.digest()


def test_what_is_missing_is_said(tmp_path: Path, patterns: Path) -> None:
    with pytest.raises(DataMissing, match="no such folder"):
        find_images(tmp_path / "none", "train")
    with pytest.raises(DataMissing, match="no JPEG, PNG or WebP"):
        find_images(tmp_path, "train")
    with pytest.raises(DataMissing, match="no class folders"):
        find_images(tmp_path, "train", classes=CLASSES)
    with pytest.raises(DataMissing, match="has no test images"):
        find_images(tmp_path, "test")
    with pytest.raises(DataMissing, match=r"across: the single knows no class of that name \(cat, dog, …\)"):
        find_images(patterns, "train", classes=["cat", "dog"])


def test_pixels_are_decoded_once_and_gone_on_with(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "_KEPT_EVERY", 10)
    found, path = find_images(patterns, "train", classes=CLASSES), tmp_path / "kept.u8"
    decoded: list[str] = []
    decode = images_module.decode_image

    def counted(*arguments: Any, field: str, **options: Any) -> Any:
        decoded.append(field)
        return decode(*arguments, field=field, **options)

    monkeypatch.setattr(images_module, "decode_image", counted)

    def stop(share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_pixels(found, GREY, path, CLASSES, progress=stop)
    before = len(decoded)
    assert before < len(found)
    decoded.clear()
    kept = keep_pixels(found, GREY, path, CLASSES)
    assert sorted(decoded) == found.names[60:]  # 60 of 144 were kept: what was decoded ahead of that was lost
    assert (kept.pixels == load_pixels(open_dataset(str(patterns)), "train", GREY).pixels).all()
    decoded.clear()
    again = keep_pixels(found, GREY, path, CLASSES)
    assert decoded == []
    again.pixels[:] = 0  # a reader's copy
    assert (keep_pixels(found, GREY, path, CLASSES).pixels == kept.pixels).all()
    keep_pixels(found, GREY.model_copy(update={"resize": None}), path, CLASSES)
    assert sorted(decoded) == found.names  # another preprocessing, other pixels


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InvalidImage, match=r"b\.png"):
        keep_pixels(find_images(tmp_path, "train"), GREY, tmp_path / "kept.u8", CLASSES)
