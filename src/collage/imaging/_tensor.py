"""Image -> tensor and back, by a model's own preprocessing. Pure functions: safe from any number of threads."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collage.exceptions import InvalidInput
from collage.imaging._preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Image of any mode and size -> uint8 (size, size, C): shorter side to `resize`, centre `size` x `size` cut out.

    Antialiased, and laid out as torchvision's Resize and CenterCrop are, so that a model trained with those sees the
    same picture. An image that has its size already is not resampled. The array may be read-only.
    """
    mode = "L" if preprocessing.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image = _fit(image, preprocessing)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels.reshape(preprocessing.size, preprocessing.size, preprocessing.channels)


def _fit(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    size, short = preprocessing.size, preprocessing.resize or preprocessing.size
    width, height = image.size
    if width <= height:
        new_width, new_height = short, int(short * height / width)
    else:
        new_width, new_height = int(short * width / height), short
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    if (new_width, new_height) == image.size:
        return image if image.size == (size, size) else image.crop((left, top, left + size, top + size))
    # Only what the crop shows is resampled: the same pixels as resizing all and then cutting, at less cost, and a
    # picture of 40,000,000 x 1 pixels stays as cheap as any other.
    across, down = width / new_width, height / new_height
    # Rounding must not put the box's edge a hair outside the picture.
    right, bottom = min((left + size) * across, width), min((top + size) * down, height)
    return image.resize(
        (size, size), _RESAMPLING[preprocessing.interpolation], box=(left * across, top * down, right, bottom)
    )


@lru_cache(maxsize=64)
def _scale_and_shift(preprocessing: Preprocessing) -> tuple[FloatArray, FloatArray]:
    """(pixel / 255 - mean) / std = pixel * scale + shift; both (C, 1, 1)."""
    mean = np.array(preprocessing.mean, dtype=np.float64).reshape(-1, 1, 1)
    std = np.array(preprocessing.std, dtype=np.float64).reshape(-1, 1, 1)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def normalise(pixels: Pixels, preprocessing: Preprocessing, out: FloatArray | None = None) -> FloatArray:
    """uint8 (H, W, C) -> float32 (C, H, W), `(pixels / 255 - mean) / std`; written to `out` where given.

    H and W may be a model's size or a whole canvas's. Raises InvalidInput for other channels than the model's.
    """
    if pixels.ndim != 3 or pixels.shape[2] != preprocessing.channels:
        raise InvalidInput(f"pixels of shape {pixels.shape}; (H, W, {preprocessing.channels}) is needed", field="image")
    scale, shift = _scale_and_shift(preprocessing)
    planes = pixels.transpose(2, 0, 1)  # (C, H, W)
    if out is None:
        out = np.empty(planes.shape, dtype=np.float32)
    np.multiply(planes, scale, out=out)
    out += shift
    return out


def denormalise(tensor: FloatArray, preprocessing: Preprocessing) -> Pixels:
    """float32 (C, H, W) -> uint8 (H, W, C): the inverse of `normalise`, exact for what came from pixels.

    Values outside the picture's range are clipped; what is not finite becomes black.
    """
    scale, shift = _scale_and_shift(preprocessing)
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = (np.asarray(tensor, dtype=np.float32) - shift) / scale  # (C, H, W), 0..255
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    return np.ascontiguousarray(np.rint(pixels).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def to_tensor(image: Image.Image, preprocessing: Preprocessing, out: FloatArray | None = None) -> FloatArray:
    """Image -> the model's input for it, float32 (C, size, size); written to `out` where given."""
    return normalise(to_pixels(image, preprocessing), preprocessing, out)


def image_from_pixels(pixels: Pixels, *, field: str = "image") -> Image.Image:
    """uint8 (H, W), (H, W, 1) or (H, W, 3) -> image of mode "L" or "RGB". Raises InvalidInput for anything else."""
    if pixels.dtype != np.uint8:
        raise InvalidInput(f"pixels of type {pixels.dtype}; uint8 is needed", field=field)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if (pixels.ndim != 2 and pixels.shape[2:] != (3,)) or 0 in pixels.shape:
        raise InvalidInput(f"pixels of shape {pixels.shape}; (H, W), (H, W, 1) or (H, W, 3) is needed", field=field)
    return Image.fromarray(np.ascontiguousarray(pixels))
