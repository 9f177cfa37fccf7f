"""What a tile's neighbours can do to its answer: the share of answers that change when all neighbours do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from collage.data import PixelSet
from collage.trust._ask import Asker, Pixels, Told

Rng = np.random.Generator


class NeighbourRow(TypedDict):
    """Tiles whose neighbours were all changed from random images to something else."""

    neighbours: str
    tiles: int
    flips: float  # share of answers that changed, 0..1
    accuracy: float
    largest_change: float  # of any of a tile's columns; 0 means that not a bit has changed


class Scene(TypedDict):
    """Groups in which one tile each is watched: pixels, the tile, and its columns (m, K) and answer (m,)."""

    groups: list[list[Pixels]]
    watched: NDArray[np.int64]
    images: NDArray[np.int64]
    columns: NDArray[np.float32]
    answer: NDArray[np.int64]


def set_scene(asker: Asker, images: PixelSet, count: int, told: Told = lambda share: None) -> Scene:
    """`count` full groups of random images; the watched tile goes round all positions."""
    rng, tiles = np.random.default_rng(1), asker.tiles
    chosen = np.resize(rng.permutation(len(images)), count)
    watched = np.arange(count) % tiles
    groups = []
    for image, tile in zip(chosen, watched, strict=True):
        group = [images.pixels[i] for i in rng.integers(len(images), size=tiles)]
        group[tile] = images.pixels[image]
        groups.append(group)
    columns = asker.columns(groups, told)
    row = np.arange(count)
    answer = asker.read(columns).index[row, watched]
    return {"groups": groups, "watched": watched, "images": chosen, "columns": columns[row, watched], "answer": answer}


def measure_neighbours(asker: Asker, images: PixelSet, scene: Scene, told: Told) -> list[NeighbourRow]:
    """Rows for other images, noise, black, white, saturated colours, and blank neighbours."""
    rng = np.random.default_rng(2)
    shape = images.pixels.shape[1:]
    makers: dict[str, Callable[[], Pixels | None]] = {
        "other images": lambda: images.pixels[rng.integers(len(images))],
        "noise": lambda: rng.integers(256, size=shape, dtype=np.uint8),
        "black": lambda: np.zeros(shape, np.uint8),
        "white": lambda: np.full(shape, 255, np.uint8),
        "saturated colours": lambda: plain(255 * rng.integers(2, size=shape[2:]), shape),
        "blank": lambda: None,
    }
    rows = []
    for number, (kind, make) in enumerate(makers.items()):
        groups: list[list[Pixels | None]] = [
            [pixels if tile == watched else make() for tile, pixels in enumerate(group)]
            for group, watched in zip(scene["groups"], scene["watched"], strict=True)
        ]
        rows.append(compare(asker, images, scene, kind, groups))
        told((number + 1) / len(makers))
    return rows


def compare(
    asker: Asker, images: PixelSet, scene: Scene, kind: str, groups: Sequence[Sequence[Pixels | None]]
) -> NeighbourRow:
    """What the watched tiles answer in `groups`, beside what they answered in the scene."""
    columns = asker.columns(groups)
    row = np.arange(len(groups))
    answer = asker.read(columns).index[row, scene["watched"]]
    return {
        "neighbours": kind,
        "tiles": len(groups),
        "flips": float((answer != scene["answer"]).mean()),
        "accuracy": float((answer == images.labels[scene["images"]]).mean()),
        "largest_change": float(np.abs(columns[row, scene["watched"]] - scene["columns"]).max()),
    }


def plain(colour: NDArray[np.int64], shape: tuple[int, ...]) -> Pixels:
    """A tile (S, S, C) of one colour (C,), 0..255."""
    return np.ascontiguousarray(np.broadcast_to(colour.astype(np.uint8), shape))
