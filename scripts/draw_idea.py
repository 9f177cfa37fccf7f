"""Draws docs/images/idea.png: nine queries, a straggler, and the collage that stands in. Every answer in it is real.

python scripts/draw_idea.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from collage.codes import CollageCode
from collage.imaging import decode_image, to_tensor
from collage.zoo import load_model, open_session, sample_images

SINGLE, BACKUP = "fashion-mnist-single", "fashion-mnist-collage-3x3"
STRAGGLER = 4  # which query's worker is slow
GREY, RED, GREEN = "#667085", "#c2410c", "#15803d"


def main(out: Path) -> None:
    """Classify nine samples both ways, and draw it."""
    single, backup = load_model(SINGLE), load_model(BACKUP)
    samples = sample_images()[7::33][:9]
    images = [decode_image(sample.path.read_bytes()) for sample in samples]
    tensors = [to_tensor(image, single.card.preprocessing) for image in images]  # (1, 28, 28) each
    card = backup.card
    assert card.grid is not None
    code = CollageCode(card.grid, card.preprocessing, len(card.classes), unknown=card.unknown, output=card.output)
    canvas = code.encode([to_tensor(image, card.preprocessing) for image in images])  # (1, 1, 84, 84)
    session = open_session(backup.path)
    tiles = code.decode(session.run(None, {session.get_inputs()[0].name: canvas})[0], range(9), {})
    session = open_session(single.path)
    name = session.get_inputs()[0].name
    alone = [int(np.argmax(session.run(None, {name: tensor[None]})[0])) for tensor in tensors]

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 11), ylim=(0, 4.6), aspect="equal")
    axes.axis("off")
    for query, tensor in enumerate(tensors):
        y = 4.05 - 0.45 * query
        late = query == STRAGGLER
        _picture(axes, tensor[0], 0.2, y - 0.19, 0.38)
        _arrow(axes, (0.65, y), (1.35, y), GREY)
        _box(axes, 1.4, y - 0.17, f"single on worker {query + 1}", RED if late else GREY)
        if late:
            axes.text(3.2, y, "straggles …", color=RED, va="center", fontsize=9)
        else:
            _arrow(axes, (3.15, y), (8.25, y), GREY)
            axes.text(8.35, y, card.classes[alone[query]], va="center", fontsize=9)
        if late:
            _arrow(axes, (7.1, y), (8.25, y), GREEN)
            label = f"{card.classes[int(tiles[query].scores.argmax())]}  (collage, {tiles[query].confidence:.0%} sure)"
            axes.text(8.35, y, label, va="center", fontsize=9, color=GREEN, weight="bold")
    axes.add_patch(Rectangle((4.25, 1.35), 2.85, 1.85, facecolor="white", edgecolor=GREEN, linewidth=1.6, zorder=3))
    _picture(axes, canvas[0, 0], 4.35, 1.5, 1.55, zorder=4)
    axes.text(6.5, 2.5, "one\ncollage", ha="center", va="center", fontsize=9, color=GREEN, zorder=4)
    axes.text(6.5, 1.85, "one pass\non one\nworker", ha="center", va="center", fontsize=9, color=GREEN, zorder=4)
    axes.text(0.2, 4.45, "9 queries", fontsize=10, weight="bold")
    axes.text(1.4, 4.45, "9 singles", fontsize=10, weight="bold")
    axes.text(4.25, 4.45, "1 collage-cnn, for whoever is late", fontsize=10, weight="bold", color=GREEN)
    axes.text(8.35, 4.45, "9 answers", fontsize=10, weight="bold")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def _picture(axes: Axes, pixels: np.ndarray, x: float, y: float, side: float, *, zorder: float = 2) -> None:
    axes.imshow(pixels, cmap="gray_r", extent=(x, x + side, y, y + side), zorder=zorder)


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    width, height = 1.7, 0.34
    axes.add_patch(Rectangle((x, y), width, height, facecolor="white", edgecolor=colour, linewidth=1.3))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color=colour)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=1.0))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/idea.png"))
