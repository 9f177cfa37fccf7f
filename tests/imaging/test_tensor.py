"""Image -> tensor -> image: one fixed definition of size, crop and scale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from collage.exceptions import InvalidInput
from collage.imaging import Preprocessing, denormalise, image_from_pixels, normalise, to_pixels, to_tensor

GREY = Preprocessing(size=28, channels=1, mean=(0.286,), std=(0.353,))
COLOUR = Preprocessing(
    size=32, resize=40, channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic"
)


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(noise(8, 8)).resize((width, height), Image.Resampling.BICUBIC)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    pixels = noise(28, 28, 1)
    assert np.array_equal(to_pixels(image_from_pixels(pixels), GREY), pixels)


def test_an_image_whose_shorter_side_fits_is_only_cut() -> None:
    pixels = noise(61, 40)
    assert np.array_equal(to_pixels(image_from_pixels(pixels), COLOUR), pixels[4:36, 14:46])


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(100, 100), (300, 200), (77, 131), (41, 40), (20, 30), (33, 500)])
def test_it_is_resize_of_the_shorter_side_then_a_centre_crop(size: tuple[int, int], interpolation: str) -> None:
    preprocessing = COLOUR.model_copy(update={"interpolation": interpolation})
    image = smooth(*size)
    short = min(size)
    new = tuple(int(40 * side / short) for side in size)
    left, top = round((new[0] - 32) / 2), round((new[1] - 32) / 2)
    resampling = Image.Resampling[interpolation.upper()]
    whole = image.resize(new, resampling).crop((left, top, left + 32, top + 32))
    difference = np.abs(np.asarray(whole).astype(int) - to_pixels(image, preprocessing))
    # The two ways round at different places, and filters with hard edges may then take one neighbour more or less.
    hard = interpolation in ("nearest", "box")
    assert (difference <= 1).mean() > (0.95 if hard else 0.999)
    assert difference.max() <= (255 if hard else 2)


@given(width=st.integers(1, 300), height=st.integers(1, 300), size=st.integers(1, 40), more=st.integers(0, 9))
def test_any_image_fills_the_input(width: int, height: int, size: int, more: int) -> None:
    preprocessing = Preprocessing(size=size, resize=size + more, channels=1, mean=(0.0,), std=(1.0,))
    pixels = to_pixels(Image.new("L", (width, height), 77), preprocessing)
    assert pixels.shape == (size, size, 1)
    assert (pixels == 77).all()


@pytest.mark.parametrize("size", [(4_000_000, 1), (1, 4_000_000)])
def test_a_line_of_pixels_is_as_cheap_as_any_picture(size: tuple[int, int]) -> None:
    assert (to_pixels(Image.new("L", size, 9), GREY) == 9).all()


def test_channels_are_the_models() -> None:
    assert to_pixels(Image.new("RGB", (28, 28), "white"), GREY).shape == (28, 28, 1)
    assert to_pixels(Image.new("L", (40, 40), 5), COLOUR).tolist() == np.full((32, 32, 3), 5).tolist()


def test_normalise_is_scale_mean_and_deviation() -> None:
    pixels = noise(32, 32)
    expected = (pixels / 255 - np.array(COLOUR.mean)) / np.array(COLOUR.std)
    tensor = normalise(pixels, COLOUR)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected.transpose(2, 0, 1), atol=1e-5)


def test_the_tensor_is_written_where_it_belongs() -> None:
    batch = np.full((2, 3, 32, 32), np.nan, np.float32)
    image = smooth(90, 70)
    out = batch[1]
    assert to_tensor(image, COLOUR, out=out) is out
    assert np.array_equal(batch[1], normalise(to_pixels(image, COLOUR), COLOUR))
    assert np.isnan(batch[0]).all()


@given(pixels=arrays(np.uint8, (32, 32, 3)))
def test_denormalise_gives_the_pixels_back(pixels: np.ndarray) -> None:
    assert np.array_equal(denormalise(normalise(pixels, COLOUR), COLOUR), pixels)


@pytest.mark.parametrize(
    ("value", "pixel"), [(np.nan, 0), (np.inf, 0), (-np.inf, 0), (1e30, 255), (-1e30, 0), (3e38, 0)]
)
def test_denormalise_never_fails_on_a_clients_tensor(value: float, pixel: int) -> None:
    wide = Preprocessing(size=1, channels=1, mean=(0.5,), std=(2.0,))
    assert denormalise(np.full((1, 1, 1), value, np.float32), wide).item() == pixel


def test_pixels_of_a_wrong_shape_name_what_is_needed() -> None:
    with pytest.raises(InvalidInput, match=r"\(H, W, 3\)"):
        normalise(noise(32, 32, 1), COLOUR)
    for wrong in (np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(InvalidInput, match="input 4: pixels of shape"):
            image_from_pixels(wrong, field="input 4")
    with pytest.raises(InvalidInput, match="float32"):
        image_from_pixels(np.zeros((2, 2), np.float32))  # type: ignore[arg-type]


def test_threads_do_not_disturb_each_other() -> None:
    images = [smooth(50 + i, 60) for i in range(32)]
    alone = [to_tensor(image, COLOUR) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: to_tensor(image, COLOUR), images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
