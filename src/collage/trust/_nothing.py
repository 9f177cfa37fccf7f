"""Tiles that show nothing or are damaged: how often one gets a class, and how often a confident one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypedDict

import numpy as np
from PIL import Image

from collage.data import PixelSet
from collage.exceptions import InvalidImage
from collage.imaging import decode_image, to_pixels
from collage.training import UNKNOWN
from collage.trust._ask import Asker, Group, Pixels, Told
from collage.trust._neighbours import plain

CONFIDENT = 0.9  # where no card says better
_QUALITY = 90


class NothingRow(TypedDict):
    """Tiles of one kind among random images; shares 0..1 of those that were not refused."""

    kind: str
    tiles: int
    refused: float  # of all: the image was turned away before it could be in a group
    classed: float
    threshold: float
    confident: float  # classed, with at least this confidence
    confident_wrong: float  # and not as the original image is labelled; as above where there is none


def measure_nothing(asker: Asker, images: PixelSet, count: int, told: Told) -> list[NothingRow]:
    """Rows for blank tiles, plain ones, noise, and damaged JPEGs; a single sees each alone."""
    rng = np.random.default_rng(3)
    shape = images.pixels.shape[1:]
    calibration = asker.card.calibration
    threshold = CONFIDENT if calibration is None or calibration.confident is None else calibration.confident
    makers: dict[str, Callable[[Pixels], Pixels | None]] = {
        "blank": lambda image: None,
        "black": lambda image: np.zeros(shape, np.uint8),
        "white": lambda image: np.full(shape, 255, np.uint8),
        "plain colours": lambda image: plain(rng.integers(256, size=shape[2:]), shape),
        "noise": lambda image: rng.integers(256, size=shape, dtype=np.uint8),
        "coarse noise": lambda image: _coarse(rng, shape),
        "JPEG cut in half": lambda image: _decoded(_jpeg(image, rng, cut=True), asker),
        "JPEG half overwritten": lambda image: _decoded(_jpeg(image, rng, cut=False), asker),
    }
    rows: list[NothingRow] = []
    for number, (kind, make) in enumerate(makers.items()):
        groups: list[Group] = []
        at: list[tuple[int, int]] = []  # the tile, and its image's label
        for turn in range(count):
            chosen = rng.integers(len(images), size=asker.tiles)
            tile = turn % asker.tiles
            group: list[Pixels | None] = [images.pixels[i] for i in chosen]
            try:
                group[tile] = make(images.pixels[chosen[tile]])
            except InvalidImage:
                continue
            groups.append(group)
            at.append((tile, int(images.labels[chosen[tile]]) if kind.startswith("JPEG") else UNKNOWN))
        rows.append(_row(kind, asker, count, groups, at=at, threshold=threshold))
        told((number + 1) / len(makers))
    return rows


def _row(
    kind: str,
    asker: Asker,
    count: int,
    groups: list[Group],
    *,
    at: list[tuple[int, int]],
    threshold: float,
) -> NothingRow:
    row: NothingRow = {
        "kind": kind,
        "tiles": count,
        "refused": 1 - len(groups) / count,
        "classed": 0.0,
        "threshold": threshold,
        "confident": 0.0,
        "confident_wrong": 0.0,
    }
    if groups:
        answers = asker.answers(groups)
        watched, labels = (np.array(part) for part in zip(*at, strict=True))
        row_of = np.arange(len(groups))
        index, confidence = answers.index[row_of, watched], answers.confidence[row_of, watched]
        sure = (index != UNKNOWN) & (confidence >= threshold)
        row["classed"] = float((index != UNKNOWN).mean())
        row["confident"] = float(sure.mean())
        row["confident_wrong"] = float((sure & (index != labels)).mean())
    return row


def _coarse(rng: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    cells = rng.integers(256, size=(4, 4, shape[2]), dtype=np.uint8)
    first = np.arange(shape[0]) * 4 // shape[0]
    return np.ascontiguousarray(cells[first][:, first])


def _jpeg(image: Pixels, rng: np.random.Generator, *, cut: bool) -> bytes:
    """The image as a JPEG file whose second half of coded pixels is missing, or is other bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=_QUALITY)
    data = buffer.getvalue()
    scan = data.rindex(b"\xff\xda") + 2
    middle = (scan + len(data)) // 2
    if cut:
        return data[:middle]
    return data[:middle] + rng.integers(255, size=len(data) - 2 - middle, dtype=np.uint8).tobytes() + data[-2:]


def _decoded(data: bytes, asker: Asker) -> Pixels:
    return to_pixels(decode_image(data), asker.card.preprocessing)
