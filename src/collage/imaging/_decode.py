"""Bytes from a client -> an upright 8-bit image, grey or RGB. Limits come first, pixels second.

Pillow's plug-ins are called directly instead of through `Image.open`: only three formats are wanted, and `Image.open`
has a process-wide pixel limit that warns, where here each call has its own limit that refuses.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from collage.exceptions import InvalidImage, TooLarge

_EXIF_ORIENTATION = 0x0112
# EXIF orientation -> what makes the image upright. 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG = b"\xff\xd8\xff"
_SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")  # marker, length, components
_MOST_SCANS = 64  # progressive files have about 10
_WHITE = 255
_GAP = 2  # a scaled decode leaves at least so many pixels for one of the result: the resize still does the smoothing
_SHIFT = 1 / 8  # pixels of the result by which a scaled decode may move the picture's far edge


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before any pixel is decoded: bytes of the file, and pixels (width x height) it would become."""

    max_bytes: int = 10 * 2**20
    max_pixels: int = 40_000_000


def decode_image(
    data: bytes, limits: ImageLimits | None = None, *, field: str = "image", shorter: int | None = None
) -> Image.Image:
    """JPEG, PNG or WebP bytes -> image of mode "L" or "RGB", upright, first frame, transparent parts over white.

    16-bit grey is scaled to 8 bits. `field` names the image in errors. `shorter`: pixels to which the shorter side will
    be resized (`useful_side`); a JPEG of four times that or more is decoded at 1/2, 1/4 or 1/8 of its size, which skips
    most of its inverse transform and gives nearly the same result. None: every pixel. Raises TooLarge over a limit (of
    the full size, by the header alone) and InvalidImage for anything that is no complete image of these formats.
    """
    limits = limits or ImageLimits()
    if not data:
        raise InvalidImage("0 bytes; send a JPEG, PNG or WebP file", field=field)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"{len(data):,} bytes; at most {limits.max_bytes:,} are allowed", field=field)
    opener = _opener(data)
    if opener is None:
        raise InvalidImage("not a JPEG, PNG or WebP file", field=field)
    if opener is WebPImagePlugin.WebPImageFile:
        # Its decoder takes memory for the whole canvas when it is opened.
        _check_pixels(_webp_size(data), limits, field)
    try:
        image = opener(io.BytesIO(data))
    except Exception as error:  # on crafted bytes the plug-ins raise nearly anything, and all of it means the same
        raise InvalidImage(f"damaged image header ({_one_line(error)})", field=field) from error
    _check_pixels(image.size, limits, field)
    _check_scans(data, field)
    try:
        if shorter is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            _draft(image, shorter)
        image.load()
        return _upright(_to_eight_bits(image), _orientation(image))
    except Exception as error:
        raise InvalidImage(f"truncated or damaged image ({_one_line(error)})", field=field) from error


def _opener(data: bytes) -> type[ImageFile.ImageFile] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if data.startswith(_JPEG):
        return JpegImagePlugin.JpegImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header of a WebP file's first chunk; (0, 0) where it says none and opening will fail."""
    head = data[:30].ljust(30, b"\0")
    match head[12:16]:
        case b"VP8X":  # extended: two 24-bit numbers, less one
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":  # lossless: two 14-bit numbers, less one
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":  # lossy: two 14-bit numbers, each below two bits of scale
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return 0, 0


def _draft(image: JpegImagePlugin.JpegImageFile, shorter: int) -> None:
    """Ask for the smallest decode that does. A block at the edge counts whole, which stretches the picture a little."""
    for scale in (8, 4, 2):
        stretch = max((-side % scale) / side for side in image.size)
        if min(image.size) >= scale * _GAP * shorter and stretch * shorter <= _SHIFT:
            image.draft(image.mode, (image.width // scale, image.height // scale))
            return


def _check_pixels(size: tuple[int, int], limits: ImageLimits, field: str) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise TooLarge(f"{width} x {height} pixels; at most {limits.max_pixels:,} in all are allowed", field=field)


def _check_scans(data: bytes, field: str) -> None:
    """A scan of a JPEG may be a few bytes long, and each costs a pass over all pixels."""
    if data.startswith(_JPEG) and len(list(islice(_SCAN.finditer(data), _MOST_SCANS + 1))) > _MOST_SCANS:
        raise TooLarge(f"more than {_MOST_SCANS} scans in one JPEG; save it again", field=field)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255 instead of scaling
        return _from_sixteen_bits(image)
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _over_white(image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    grey = np.asarray(image).astype(np.uint32).clip(0, 65535)  # (H, W)
    eight = ((grey + 128) // 257).astype(np.uint8)
    transparent: Any = image.info.get("transparency")
    if isinstance(transparent, int):
        eight[grey == transparent] = _WHITE
    return Image.fromarray(eight)


def _over_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    rgba = image.convert("RGBA")
    flat = Image.new("RGBA", rgba.size, (_WHITE, _WHITE, _WHITE, 255))
    flat.alpha_composite(rgba)
    return flat.convert("RGB").getchannel(0) if grey else flat.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """1..8 as EXIF says; 1 where EXIF is absent or damaged: a bad tag is no reason to refuse a good picture."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
