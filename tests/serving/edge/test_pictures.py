"""What goes up the link."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from collage.imaging import Preprocessing
from collage.serving.edge import canvas_of, jpeg_of, tile_of

COLOUR = Preprocessing(size=16, mean=(0.6, 0.25, 0.75), std=(0.2, 0.2, 0.2))
GREY = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.2,))


def test_tiles_lie_row_by_row_and_the_rest_is_the_mean_pixel() -> None:
    tiles = [np.full((16, 16, 3), value, np.uint8) for value in (10, 20, 30)]
    canvas = canvas_of(tiles, 2, COLOUR)
    assert canvas.shape == (32, 32, 3)
    assert [canvas[y, x, 0] for y, x in ((0, 0), (0, 16), (16, 0))] == [10, 20, 30]
    assert canvas[31, 31].tolist() == [153, 64, 191]


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match="5 tiles"):
        canvas_of([np.zeros((8, 8, 1), np.uint8)] * 5, 2, GREY)


def test_a_jpeg_file_keeps_tiles_apart() -> None:
    # Tiles of whole blocks, and colour at full size: what is in one tile is in no other.
    draw = np.random.default_rng(0)
    busy = draw.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    calm = [np.full((16, 16, 3), 90, np.uint8)] * 3

    def neighbour(first: np.ndarray) -> np.ndarray:
        file = jpeg_of(canvas_of([first, *calm], 2, COLOUR), 60)
        return np.asarray(Image.open(io.BytesIO(file)))[:, 16:]

    assert (neighbour(busy) == neighbour(calm[0])).all()


def test_a_grey_canvas_is_a_grey_file() -> None:
    file = jpeg_of(canvas_of([tile_of(Image.new("RGB", (80, 60), (255, 255, 255)), GREY)], 2, GREY), 90)
    image = Image.open(io.BytesIO(file))
    assert (image.mode, image.size) == ("L", (16, 16))
