"""What an edge sends: a full image as it came or resized, and several images' tiles in one picture, as JPEG files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collage.imaging import Preprocessing, denormalise, to_pixels

Pixels = NDArray[np.uint8]


def tile_of(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """An image's tile, uint8 (size, size, C)."""
    return to_pixels(image, preprocessing)


def canvas_of(tiles: Sequence[Pixels], grid: int, preprocessing: Preprocessing) -> Pixels:
    """Tiles (size, size, C), row by row, the rest blank -> uint8 (grid*size, grid*size, C).

    Blank is the mean pixel, as in training, to the nearest of 255 steps. Raises ValueError for too many tiles.
    """
    if len(tiles) > grid * grid:
        raise ValueError(f"{len(tiles)} tiles; a collage of {grid} x {grid} holds {grid * grid}")
    size, channels = preprocessing.size, preprocessing.channels
    blank = denormalise(np.zeros((channels, 1, 1), np.float32), preprocessing)  # (1, 1, C)
    canvas = np.empty((grid * size, grid * size, channels), np.uint8)
    canvas[...] = blank
    for position, tile in enumerate(tiles):
        row, column = divmod(position, grid)
        canvas[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
    return canvas


def jpeg_of(pixels: Pixels, quality: int) -> bytes:
    """uint8 (H, W, C) -> a JPEG file. Colour is kept at full size: a block of half of it would mix neighbours."""
    file = io.BytesIO()
    shown = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(shown)).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()
