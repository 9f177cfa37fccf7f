"""Bytes from a client: every kind of picture that should work, and everything that must be refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from collage.exceptions import InvalidImage, TooLarge
from collage.imaging import ImageLimits, Preprocessing, decode_image, to_pixels, useful_side


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 8, height: int = 6, channels: int = 3) -> np.ndarray:
    return np.arange(width * height * channels, dtype=np.uint8).reshape(height, width, channels)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_their_pixels(kind: str, options: dict[str, object]) -> None:
    pixels = gradient()
    image = decode_image(encode(Image.fromarray(pixels), kind, **options))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)


def test_jpeg_gives_nearly_its_pixels() -> None:
    pixels = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    image = decode_image(encode(Image.fromarray(pixels), "JPEG", quality=95))
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 4


def test_grey_stays_grey() -> None:
    pixels = gradient(channels=1)[:, :, 0]
    image = decode_image(encode(Image.fromarray(pixels)))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), pixels)


def test_one_bit_is_black_and_white() -> None:
    image = decode_image(encode(Image.fromarray(np.array([[True, False], [False, True]]))))
    assert np.asarray(image).tolist() == [[255, 0], [0, 255]]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = np.array([[0, 256, 0x8000, 65535]], np.uint16)
    image = decode_image(encode(Image.fromarray(deep)))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 1, 128, 255]]


def test_sixteen_bit_grey_with_a_transparent_value_has_white_there() -> None:
    rows = b"\0" + struct.pack(">HH", 1000, 65535 // 2)
    data = png_header(2, 1, depth=16, colour=0) + png_chunk(b"tRNS", struct.pack(">H", 1000))
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert np.asarray(decode_image(data)).tolist() == [[255, 127]]


def test_palette_is_expanded_and_its_transparent_entry_is_white() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    assert np.asarray(decode_image(encode(image))).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    clear = np.asarray(decode_image(encode(image, transparency=1)))
    assert clear.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_lies_over_white(kind: str) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    image = decode_image(encode(Image.fromarray(pixels, "RGBA"), kind, lossless=True))
    assert np.asarray(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_grey_with_alpha_is_grey_over_white() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.fromarray(np.array([[255, 0]], np.uint8))])
    flat = decode_image(encode(image))
    assert flat.mode == "L"
    assert np.asarray(flat).tolist() == [[100, 255]]


def test_grey_with_a_transparent_value_is_white_there() -> None:
    image = decode_image(encode(Image.fromarray(np.array([[7, 9]], np.uint8)), transparency=9))
    assert np.asarray(image).tolist() == [[7, 255]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    image = decode_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = np.asarray(image)[8, 8].astype(int)
    assert image.mode == "RGB"
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    """A picture whose four corners differ comes out the same, however the camera was held."""
    upright = np.zeros((2, 3), np.uint8)
    upright[0, 0], upright[0, 2], upright[1, 0] = 255, 160, 80
    # What a camera stores so that applying the orientation gives `upright` back.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encode(Image.fromarray(np.ascontiguousarray(stored)), exif=exif))
    assert np.array_equal(np.asarray(image), upright)


def test_exif_rotation_in_a_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encode(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)


def test_damaged_exif_costs_nothing_but_the_orientation() -> None:
    pixels = gradient()
    image = decode_image(encode(Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x07" * 9))
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    image = decode_image(encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
    assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="0 bytes"),
        pytest.param(b"\0" * 100, id="zeros"),
        pytest.param(b"not an image at all", id="text"),
        pytest.param(encode(Image.new("RGB", (4, 4)), "GIF"), id="GIF"),
        pytest.param(encode(Image.new("RGB", (4, 4)), "TIFF"), id="TIFF"),
        pytest.param(encode(Image.new("RGB", (4, 4)), "BMP"), id="BMP"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", id="EPS"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG signature only"),
        pytest.param(b"\xff\xd8\xff", id="JPEG signature only"),
        pytest.param(b"RIFF\x04\0\0\0WEBP", id="WebP signature only"),
        pytest.param(png_header(0, 5), id="width 0"),
        pytest.param(png_header(4, 4), id="PNG without data"),
        pytest.param(
            png_header(4, 4) + png_chunk(b"IDAT", b"garbage") + png_chunk(b"IEND", b""), id="PNG with garbage data"
        ),
    ],
)
def test_what_is_no_image_is_refused_in_one_line_that_names_the_field(data: bytes) -> None:
    with pytest.raises(InvalidImage) as caught:
        decode_image(data, field="inputs[2]")
    assert caught.value.field == "inputs[2]"
    assert str(caught.value).startswith("inputs[2]: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_cut_off_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(InvalidImage):
            decode_image(data[: int(len(data) * share)])


@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=40))
def test_bytes_overwritten_anywhere_give_an_image_or_invalid_input(kind: str, where: float, junk: bytes) -> None:
    data = bytearray(encode(Image.fromarray(gradient(24, 24)), kind))
    at = int(where * (len(data) - 1))
    data[at : at + len(junk)] = junk
    try:
        mode = decode_image(bytes(data)).mode
    except (InvalidImage, TooLarge):
        mode = "refused"  # anything else that is raised fails the test
    assert mode in ("L", "RGB", "refused")


def big_jpeg() -> bytes:
    data = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def big_webp(kind: bytes) -> bytes:
    side = 16_383
    body = {
        b"VP8L": b"\x2f" + (side - 1 | (side - 1) << 14).to_bytes(4, "little"),
        b"VP8X": b"\0" * 4 + (side - 1).to_bytes(3, "little") * 2,
        b"VP8 ": b"\x30\x01\0\x9d\x01\x2a" + side.to_bytes(2, "little") * 2,
    }[kind].ljust(64, b"\0")
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(bytes(100))), id="PNG"),
        pytest.param(png_header(10_000, 10_000) + png_chunk(b"IDAT", b""), id="PNG between Pillow's own limits"),
        pytest.param(big_jpeg(), id="JPEG"),
        pytest.param(big_webp(b"VP8L"), id="WebP lossless"),
        pytest.param(big_webp(b"VP8X"), id="WebP extended"),
        pytest.param(big_webp(b"VP8 "), id="WebP lossy"),
    ],
)
def test_a_huge_picture_is_refused_by_its_header_alone(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="pixels"):
            decode_image(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_the_webp_header_is_read_as_its_decoder_reads_it() -> None:
    """A limit just below and just at the size: refused, and accepted, for each kind of WebP file."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "extended"
    for options in ({"lossless": True}, {"quality": 50}, {"quality": 50, "exif": exif}):
        data = encode(noise, "WEBP", **options)
        assert decode_image(data, ImageLimits(max_pixels=37 * 53)).size == (53, 37)
        with pytest.raises(TooLarge, match="53 x 37"):
            decode_image(data, ImageLimits(max_pixels=37 * 53 - 1))


def test_limits_are_the_callers() -> None:
    data = encode(Image.new("RGB", (10, 10)))
    with pytest.raises(TooLarge, match="at most 99"):
        decode_image(data, ImageLimits(max_pixels=99))
    with pytest.raises(TooLarge, match="bytes"):
        decode_image(data, ImageLimits(max_bytes=len(data) - 1))
    assert decode_image(data, ImageLimits(max_bytes=len(data), max_pixels=100)).size == (10, 10)


def photograph(width: int, height: int) -> Image.Image:
    """Smooth colours with some grain, as cameras give."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(256, size=(6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, size=(height, width, 3))
    return Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(640, 480), (437, 803), (1023, 517), (2000, 260)])
@pytest.mark.parametrize(("side", "resize"), [(32, None), (24, 28)])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_scaled_decode_shows_the_same_picture(
    size: tuple[int, int], side: int, resize: int | None, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph(*size), "JPEG", quality=85, exif=exif)
    preprocessing = Preprocessing(size=side, resize=resize, mean=(0.5,) * 3, std=(0.5,) * 3)
    full, scaled = decode_image(data), decode_image(data, shorter=useful_side(preprocessing))
    assert (full.width > full.height) == (scaled.width > scaled.height)
    assert scaled.width * scaled.height < full.width * full.height / 3  # it was worth it
    assert min(scaled.size) >= 2 * (resize or side)
    difference = np.abs(to_pixels(full, preprocessing).astype(int) - to_pixels(scaled, preprocessing))
    assert difference.mean() < 1
    assert difference.max() <= 6


def test_a_small_jpeg_a_png_and_picked_pixels_are_decoded_whole() -> None:
    picture = photograph(640, 480)
    assert decode_image(encode(picture, "JPEG"), shorter=121).size == (640, 480)
    assert decode_image(encode(picture, "JPEG"), shorter=120).size == (320, 240)
    assert decode_image(encode(picture), shorter=32).size == (640, 480)
    nearest = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="nearest")
    assert useful_side(nearest) is None
    assert useful_side(nearest.model_copy(update={"interpolation": "box"}), nearest) is None


def test_a_scaled_decode_is_refused_by_its_full_size() -> None:
    data = encode(photograph(640, 480), "JPEG")
    with pytest.raises(TooLarge, match="640 x 480 pixels"):
        decode_image(data, ImageLimits(max_pixels=640 * 480 - 1), shorter=32)
    with pytest.raises(InvalidImage, match="truncated"):
        decode_image(data[: len(data) // 2], shorter=32)


def test_grey_and_cmyk_photographs_scale_too() -> None:
    for mode, expected in (("L", "L"), ("CMYK", "RGB")):
        data = encode(photograph(640, 480).convert(mode), "JPEG")
        full, scaled = decode_image(data), decode_image(data, shorter=30)
        assert full.mode == scaled.mode == expected
        assert scaled.size == (80, 60)


def test_a_jpeg_of_many_scans_is_refused_and_one_with_others_inside_is_not() -> None:
    data = encode(Image.new("L", (64, 64), 77), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    usual = data.count(b"\xff\xda")
    assert decode_image(data[:-2] + last * (64 - usual) + b"\xff\xd9").size == (64, 64)
    with pytest.raises(TooLarge, match="more than 64 scans"):
        decode_image(data[:-2] + last * (65 - usual) + b"\xff\xd9")
    assert decode_image(data + b"\xff\xda..." * 1000).size == (
        64,
        64,
    )  # a film behind the picture, as telephones put it
