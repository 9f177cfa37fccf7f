"""Whatever holds an image -> tensors of the Open Inference Protocol, with their bytes."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from collage.exceptions import InvalidInput

# A file's bytes, its path, pixels uint8 (H, W) or (H, W, C), or the model's own tensor, float32 (C, H, W).
Image = bytes | bytearray | memoryview | str | os.PathLike[str] | NDArray[np.uint8] | NDArray[np.float32]

_PART_BYTES = 16 * 2**20  # of one request: half of what a gateway takes by default


class Part(NamedTuple):
    """Images that travel in one request, as one tensor."""

    datatype: str
    shape: list[int]
    data: bytes


def parts_of(images: Iterable[Image], most: int) -> Iterator[Part]:
    """The images in order, at most `most` in a request. Raises InvalidInput, by number, for what is no image.

    Files that cannot be read raise OSError, as `open` does.
    """
    if not 1 <= most <= 10_000:
        raise InvalidInput(f"{most}; a number from 1 to 10,000 is needed", field="per_request")
    tensors: list[NDArray[np.float32]] = []
    files: list[bytes] = []
    size = 0
    for number, image in enumerate(images):
        item = _read(image, f"images[{number}]")
        if (isinstance(item, bytes) and tensors) or (not isinstance(item, bytes) and files):
            raise InvalidInput("tensors and other images cannot be mixed", field=f"images[{number}]")
        if tensors and not isinstance(item, bytes) and item.shape != tensors[0].shape:
            raise InvalidInput(f"{item.shape}; others are {tensors[0].shape}", field=f"images[{number}]")
        length = len(item) if isinstance(item, bytes) else item.nbytes
        if (files or tensors) and (len(files or tensors) == most or size + length > _PART_BYTES):
            yield _part(files, tensors)
            files, tensors, size = [], [], 0
        if isinstance(item, bytes):
            files.append(item)
        else:
            tensors.append(item)
        size += length
    if files or tensors:
        yield _part(files, tensors)


def _part(files: Sequence[bytes], tensors: Sequence[NDArray[np.float32]]) -> Part:
    if files:
        return Part("BYTES", [len(files)], b"".join(struct.pack("<I", len(file)) + file for file in files))
    batch = np.stack(tensors).astype("<f4", copy=False)  # (n, C, H, W)
    return Part("FP32", list(batch.shape), batch.tobytes())


def _read(image: Image, field: str) -> bytes | NDArray[np.float32]:
    """A file's bytes, or a tensor. Pixels become a PNG file: images of different sizes then travel together."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if not isinstance(image, np.ndarray):
        raise InvalidInput(f"{type(image).__name__} is no image; bytes, a path or an array is", field=field)
    if image.dtype == np.float32 and image.ndim == 3:
        return image.astype(np.float32, copy=False)
    if image.dtype != np.uint8 or image.size == 0:
        raise InvalidInput(
            f"{image.dtype} {image.shape}; uint8 (H, W[, C]) or float32 (C, H, W) is needed", field=field
        )
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise InvalidInput(f"uint8 {image.shape}; (H, W), (H, W, 1) or (H, W, 3) is needed", field=field)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
