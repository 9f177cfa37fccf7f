"""Small image files of every kind, and what a hostile client makes of them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin

from collage.bench.chaos.fuzz._mutate import mutated

_PNG = b"\x89PNG\r\n\x1a\n"
WORDS = (
    *(b"\xff\xd8\xff\xe1", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xd9", b"\xff\xee"),
    *(b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"iTXt", b"eXIf"),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"GIF89a"),
    *(b"Exif\0\0II*\0", b"Exif\0\0MM\0*", b"Adobe\0", b"JFIF\0", b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0"),
)


@cache
def pictures() -> tuple[bytes, ...]:
    """Whole files, some KB at most: JPEG, PNG, WebP and, which is not taken, GIF."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8))
    grey, cmyk, rgba = rgb.convert("L"), rgb.convert("CMYK"), rgb.convert("RGBA")
    rgba.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "text", {0x9003: "2020:01:01 00:00:00"}
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 200, zip=True)
    text.add_itxt("c", "d" * 200, zip=True)
    return (
        *(_saved(image, "JPEG", quality=80) for image in (rgb, grey, cmyk)),
        _saved(rgb, "JPEG", progressive=True, exif=exif, icc_profile=b"p" * 200, comment=b"c"),
        _saved(rgb, "JPEG", optimize=True, restart_marker_blocks=1, subsampling="4:2:0"),
        *(_saved(image, "PNG") for image in (rgb, grey, rgba, deep, rgb.convert("P"), grey.convert("1"))),
        _saved(rgb, "PNG", pnginfo=text, exif=exif, transparency=(1, 2, 3), icc_profile=b"p" * 200),
        _saved(rgb, "PNG", save_all=True, append_images=[grey.convert("RGB")], duration=10),
        *(_saved(image, "WEBP", **how) for image in (rgb, rgba) for how in ({"quality": 60}, {"lossless": True})),
        _saved(rgba, "WEBP", save_all=True, append_images=[rgb.convert("RGBA")], exif=exif),
        _saved(rgb, "GIF", save_all=True, append_images=[grey]),
    )


def hostile_picture(rng: random.Random) -> bytes:
    """One of them, changed, cut, or with another's pieces."""
    data = rng.choice(pictures())
    if rng.random() < 0.1:
        other = rng.choice(pictures())
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    data = mutated(rng, data, WORDS)
    if data.startswith(_PNG) and rng.random() < 0.7:  # beyond the checksums, where the decoders are
        return repaired(data)
    return data


def repaired(data: bytes) -> bytes:
    """A PNG whose chunks' checksums are right, as far as its chunks go."""
    out, at = bytearray(data[: len(_PNG)]), len(_PNG)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + size]
        if at + 12 + size > len(data):
            break
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return bytes(out + data[at:])


def _saved(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()
