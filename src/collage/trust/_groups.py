"""Groups as they come in life: A_d where tiles have more in common than chance gives them, by fill and by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from collage.data import PixelSet
from collage.training import UNKNOWN, Answers, calibration_error, deal_tiles
from collage.trust._ask import Asker, Pixels, Told

IntArray = NDArray[np.int64]

_FRAMES = 1000  # images that are repeated, or become a burst
_DRIFT = 8  # a burst drifts no further than this part of a tile's side


class GroupRow(TypedDict):
    """Answers of one kind of group; shares 0..1."""

    kind: str
    answers: int
    accuracy: float
    unknown: float
    ece: float
    same_images: float  # accuracy on the very same images in random full groups


def measure_groups(asker: Asker, images: PixelSet, told: Told) -> list[GroupRow]:
    """Rows for random groups, one class, one image repeated, a burst, each fill from 1, and each position."""
    rng = np.random.default_rng(0)
    tiles, count, labels = asker.tiles, len(images), images.labels
    work, done = 2 * tiles + 2, 0

    def ask(groups: IntArray, pixels: list[list[Pixels]] | None = None) -> Answers:
        nonlocal done
        found = asker.answers(pixels or [[images.pixels[i] for i in group] for group in groups])
        done += 1
        told(done / work)
        fill = groups.shape[1]
        return Answers(found.index[:, :fill], found.confidence[:, :fill])

    # Each image at each position, with other neighbours each time.
    everywhere = Answers(np.empty((count, tiles), np.int64), np.empty((count, tiles), np.float32))
    for turn in range(tiles):
        groups = np.roll(deal_tiles(count, tiles), turn, axis=1)
        groups = np.stack([rng.permutation(column) for column in groups.T], axis=1)
        found = ask(groups)
        everywhere.index[groups, np.arange(tiles)] = found.index
        everywhere.confidence[groups, np.arange(tiles)] = found.confidence
    at_random = (everywhere.index == labels[:, None]).mean(
        1
    )  # (n,) share of positions where an image's answer is right
    rows = [_row("random", everywhere, labels[:, None], at_random)]

    groups = _by_class(labels, tiles, rng)
    rows.append(_row("one class", ask(groups), labels[groups], at_random[groups]))
    alike = np.repeat(rng.permutation(count)[:_FRAMES, None], tiles, axis=1)  # one image a group
    rows.append(_row("one image repeated", ask(alike), labels[alike], at_random[alike]))
    frames = [burst(images.pixels[group[0]], tiles, rng) for group in alike]
    rows.append(_row("a burst", ask(alike, frames), labels[alike], at_random[alike]))
    for fill in range(1, tiles):
        groups = deal_tiles(count, fill, seed=fill)
        rows.append(_row(f"filled {fill}", ask(groups), labels[groups], at_random[groups]))
    for tile in range(tiles):
        answers = Answers(everywhere.index[:, tile], everywhere.confidence[:, tile])
        rows.append(_row(f"position {tile}", answers, labels, at_random))
    return rows


def worst_row(rows: Sequence[GroupRow]) -> GroupRow:
    """The kind of group that costs the most accuracy beside random groups of the same images."""
    return min(rows, key=lambda row: row["accuracy"] - row["same_images"])


def burst(pixels: Pixels, frames: int, rng: np.random.Generator) -> list[Pixels]:
    """Frames (S, S, C) of one image, drifting by up to a pixel each, edges repeated; half of all are mirrored."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    side = len(pixels)
    most = max(1, side // _DRIFT)
    padded = np.pad(pixels, ((most, most), (most, most), (0, 0)), mode="edge")
    where = np.zeros(2, np.int64)
    found = []
    for _ in range(frames):
        top, left = where + most
        found.append(np.ascontiguousarray(padded[top : top + side, left : left + side]))
        where = np.clip(where + rng.integers(-1, 2, 2), -most, most)
    return found


def _by_class(labels: IntArray, tiles: int, rng: np.random.Generator) -> IntArray:
    """Full groups (m, N), each of one class; every image is in one, some in two."""
    groups = []
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        groups.append(np.resize(mine, (-(-len(mine) // tiles), tiles)))
    return np.concatenate(groups)


def _row(kind: str, answers: Answers, labels: IntArray, at_random: NDArray[np.float64]) -> GroupRow:
    right, known = answers.index == labels, answers.index != UNKNOWN
    return {
        "kind": kind,
        "answers": int(right.size),
        "accuracy": float(right.mean()),
        "unknown": float((~known).mean()),
        "ece": calibration_error(answers.confidence[known], right[known]),
        "same_images": float(at_random.mean()),
    }
