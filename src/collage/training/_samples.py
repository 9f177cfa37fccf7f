"""Collages with the answers drawn on their tiles, for the eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from collage.data import PixelSet
from collage.imaging import normalise
from collage.training._evaluate import UNKNOWN, IntArray
from collage.training._scores import Caller
from collage.zoo import LoadedModel

_ROOM = 20  # characters of a class name


def write_samples(path: Path, model: LoadedModel, images: PixelSet, *, count: int = 4, seed: int = 0) -> None:
    """A PNG of `count` full collages of random images, and one half filled; under each tile what the model says of it.

    Green: as labelled (by people, or by the single where there are no labels); red: otherwise, and then the label too.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no global state, no display

    caller, rng = Caller(model), np.random.default_rng(seed)
    grid, tiles = model.card.grid or 1, caller.tiles
    groups = [rng.choice(len(images), tiles, replace=len(images) < tiles) for _ in range(count + 1)]
    groups[-1] = groups[-1][: (tiles + 1) // 2]
    tensors = [[normalise(images.pixels[i], model.card.preprocessing) for i in group] for group in groups]
    answers = caller.answers(caller.columns(tensors))
    figure = Figure(figsize=(4.2 * len(groups), 4.6), layout="constrained")
    for axes, group, index, sure in zip(
        figure.subplots(1, len(groups)), groups, answers.index, answers.confidence, strict=True
    ):
        axes.imshow(_canvas(images, group, grid), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.axis("off")
        side = images.pixels.shape[1]
        for tile in range(len(group)):
            row, column = divmod(tile, grid)
            label = int(images.labels[group[tile]])
            right = int(index[tile]) == label
            said = "unknown" if index[tile] == UNKNOWN else f"{images.classes[index[tile]][:_ROOM]} {sure[tile]:.0%}"
            axes.text(
                (column + 0.5) * side - 0.5, (row + 0.98) * side - 0.5,
                said if right else f"{said}\nnot {images.classes[label][:_ROOM]}",
                ha="center", va="bottom", fontsize=7, color="white",
                bbox={"facecolor": "#1a7f37" if right else "#b3261e", "alpha": 0.85, "pad": 1, "linewidth": 0},
            )  # fmt: skip
    figure.savefig(path, dpi=110)


def _canvas(images: PixelSet, group: IntArray, grid: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 (g*T, g*T[, 3]); blank tiles grey."""
    _, side, _, channels = images.pixels.shape
    canvas = np.full((grid * side, grid * side, channels), 128, np.uint8)
    for tile, image in enumerate(group):
        row, column = divmod(tile, grid)
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = images.pixels[image]
    return canvas[:, :, 0] if channels == 1 else canvas
