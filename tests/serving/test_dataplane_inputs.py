"""What a client sends becomes the same tensors whichever way it is sent, or an error that names it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from collage.exceptions import InvalidImage, InvalidInput, TooLarge
from collage.imaging import ImageLimits, Preprocessing
from collage.serving._inputs import Encoded, Pixels, Tensor
from collage.serving._prepare import Prepared, Preparer

SINGLE = Preprocessing(size=16, resize=20, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
TILE = Preprocessing(size=8, resize=10, channels=3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LIMITS = ImageLimits(max_bytes=100_000, max_pixels=90_000)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=25)
@given(st.integers(4, 45), st.integers(4, 45))
def test_a_file_and_its_pixels_give_the_same(height: int, width: int) -> None:
    preparer = Preparer(SINGLE, [TILE], LIMITS)
    array = noise(height, width)
    ways = [
        preparer.prepare(Encoded(png(array)), "image"),
        preparer.prepare(Pixels(array), "image"),
        preparer.prepare_light(Encoded(png(array)), "image"),
    ]
    for way in ways:
        assert isinstance(way, Prepared)
        assert (way.single.shape, way.single.dtype) == ((3, 16, 16), np.float32)
        np.testing.assert_array_equal(way.single, ways[0].single)
        (tile,) = way.tiles
        assert tile.shape == (3, 8, 8)
        np.testing.assert_array_equal(tile, ways[0].tiles[0])


def test_a_clients_tensor_goes_on_the_tile_whole() -> None:
    preparer = Preparer(SINGLE, [TILE], LIMITS)
    # Red on the left, blue on the right: a second crop would move the edge, wrong statistics the colours.
    array = np.zeros((16, 16, 3), np.uint8)
    array[:, :8, 0] = 255
    array[:, 8:, 2] = 255
    statistics = (np.float32(SINGLE.mean), np.float32(SINGLE.std))
    tensor = ((array / np.float32(255) - statistics[0]) / statistics[1]).transpose(2, 0, 1).astype(np.float32)
    prepared = preparer.prepare(Tensor(tensor), "image")
    assert prepared.single is tensor
    (tile,) = prepared.tiles
    expected = np.full((3, 8, 8), -1.0, np.float32)
    expected[0, :, :3] = expected[2, :, 5:] = 1.0  # columns 3 and 4 hold the antialiased edge
    np.testing.assert_allclose(tile[:, :, [0, 1, 2, 5, 6, 7]], expected[:, :, [0, 1, 2, 5, 6, 7]], atol=0.01)
    assert preparer.prepare_light(Tensor(tensor), "image") is None  # to make its tile takes a thread's time


def test_models_of_several_sizes_get_each_its_own_tile_and_share_equal_ones() -> None:
    small = TILE.model_copy(update={"size": 5})
    prepared = Preparer(SINGLE, [TILE, small, SINGLE, TILE], LIMITS).prepare(Encoded(png(noise(30, 40))), "image")
    assert [tile.shape for tile in prepared.tiles] == [(3, 8, 8), (3, 5, 5), (3, 16, 16), (3, 8, 8)]
    assert prepared.tiles[0] is prepared.tiles[3]
    assert prepared.tiles[2] is prepared.single


def test_one_tensor_serves_both_where_both_models_see_alike() -> None:
    preparer = Preparer(SINGLE, [SINGLE], LIMITS)
    prepared = preparer.prepare(Encoded(png(noise(30, 40))), "image")
    assert prepared.tiles[0] is prepared.single
    light = preparer.prepare_light(Tensor(np.zeros((3, 16, 16), np.float32)), "image")
    assert light is not None
    assert light.tiles[0] is light.single


def test_only_small_pictures_are_prepared_on_the_event_loop() -> None:
    preparer = Preparer(SINGLE, [TILE], LIMITS)
    assert preparer.prepare_light(Encoded(png(np.zeros((128, 128, 3), np.uint8))), "image") is not None
    assert preparer.prepare_light(Encoded(png(np.zeros((128, 129, 3), np.uint8))), "image") is None
    assert preparer.prepare_light(Encoded(png(noise(64, 64))), "image") is None
    assert preparer.prepare_light(Pixels(noise(8, 8)), "image") is None


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (Encoded(b""), InvalidImage, "images\\[3\\]: 0 bytes"),
        (Encoded(b"hello"), InvalidImage, "images\\[3\\]: not a JPEG"),
        (Encoded(png(noise(8, 8))[:60]), InvalidImage, "images\\[3\\]: truncated or damaged"),
        (Tensor(np.zeros((3, 16, 15), np.float32)), InvalidInput, r"float32 \(3, 16, 16\) is needed"),
        (Tensor(np.zeros((3, 16, 16), np.float64)), InvalidInput, "float64"),
        (Tensor(np.full((3, 16, 16), np.nan, np.float32)), InvalidInput, "images\\[3\\]: holds NaN"),
        (Tensor(np.full((3, 16, 16), -np.inf, np.float32)), InvalidInput, "infinite"),
    ],
)
def test_bad_input_is_named(image: Encoded | Tensor, error: type[InvalidInput], message: str, light: bool) -> None:
    preparer = Preparer(SINGLE, [SINGLE], LIMITS)
    with pytest.raises(error, match=message) as caught:
        (preparer.prepare_light if light else preparer.prepare)(image, "images[3]")  # type: ignore[operator]
    assert caught.value.field == "images[3]"


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (Encoded(bytes(100_001)), TooLarge),
        (Encoded(png(np.zeros((301, 300, 3), np.uint8))), TooLarge),
        (Pixels(np.zeros((301, 300, 3), np.uint8)), TooLarge),
        (Pixels(np.zeros((0, 5, 3), np.uint8)), InvalidInput),
        (Pixels(np.zeros((5, 5, 2), np.uint8)), InvalidInput),
        (Pixels(np.zeros((5,), np.uint8)), InvalidInput),
        (Pixels(np.zeros((5, 5, 3), np.int16)), InvalidInput),  # type: ignore[arg-type]
    ],
)
def test_limits(image: Encoded | Pixels, error: type[InvalidInput]) -> None:
    with pytest.raises(error) as caught:
        Preparer(SINGLE, [TILE], LIMITS).prepare(image, "image")
    assert caught.value.field == "image"


def test_the_operators_limits_hold_for_small_pictures_too() -> None:
    tight = Preparer(SINGLE, [TILE], ImageLimits(max_bytes=100_000, max_pixels=63))
    small = Encoded(png(noise(8, 8)))
    assert tight.prepare_light(small, "image") is None
    with pytest.raises(TooLarge):
        tight.prepare(small, "image")


def test_a_large_jpeg_is_decoded_once_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The single's tensor and the tile come from one decode, at a size that serves the single."""
    from collage.serving import _prepare

    smooth = Image.fromarray(noise(3, 4)).resize((640, 480), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=90)
    sizes, decode = [], _prepare.decode_image

    def watched(*arguments: object, **options: object) -> Image.Image:
        picture = decode(*arguments, **options)  # type: ignore[arg-type]
        sizes.append(picture.size)
        return picture

    monkeypatch.setattr(_prepare, "decode_image", watched)
    preparer = Preparer(SINGLE, [TILE], ImageLimits())
    scaled = preparer.prepare(Encoded(buffer.getvalue()), "image")
    whole = preparer.prepare(Pixels(np.asarray(Image.open(buffer))), "image")
    assert sizes == [(80, 60)]  # 1/8; twice the single's 20 pixels is still less than 60
    for made, expected in ((scaled.single, whole.single), (scaled.tiles[0], whole.tiles[0])):
        np.testing.assert_allclose(made, expected, atol=6 / 255 / 0.2)


def test_a_digest_is_of_the_decoded_image() -> None:
    picture = Image.fromarray(noise(30, 40))
    files = []
    for changes in ({"compress_level": 1}, {"compress_level": 9}):
        file = io.BytesIO()
        picture.save(file, "png", **changes)
        files.append(Encoded(file.getvalue()))
    one_pixel = noise(30, 40)
    one_pixel[15, 20] ^= 255
    preparer = Preparer(SINGLE, [TILE], LIMITS, digests=True)
    first, again, other = (preparer.prepare(image, "image").digest for image in (*files, Encoded(png(one_pixel))))
    assert files[0].data != files[1].data
    assert first == again != other
    assert Preparer(SINGLE, [TILE], LIMITS).prepare(files[0], "image").digest is None
