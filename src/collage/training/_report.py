"""An evaluation on disk: outcomes and confusion as CSV, pictures, numbers as JSON, and the card brought up to date."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from collage.data import PixelSet
from collage.exceptions import ModelError
from collage.training._evaluate import Answers, CollageReport, IntArray, confusion
from collage.zoo import LoadedModel

_READABLE = 41  # columns of a picture
_OUTCOMES = ("image", "label", "answer", "confidence")


def write_outcomes(path: Path, images: PixelSet, answers: Answers) -> None:
    """`path`, gzipped CSV, one row an image: its number, its label, the answer (a class, -1: unknown), how sure.

    Files of one dataset belong together row by row. The same answers make the same bytes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_OUTCOMES)
    sure = [f"{value:.4f}" for value in answers.confidence]
    writer.writerows(zip(range(len(images)), images.labels, answers.index, sure, strict=True))
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def read_outcomes(path: Path) -> tuple[IntArray, Answers]:
    """Labels (n,) and answers as `write_outcomes` left them. Raises ModelError for a file of another form."""
    try:
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [np.array([row[name] for row in rows]) for name in _OUTCOMES[1:]]
        labels, index = (column.astype(np.int64) for column in columns[:2])
        return labels, Answers(index, columns[2].astype(np.float32))
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: no outcomes of an evaluation; delete it and evaluate again") from error


def write_confusion(path: Path, images: PixelSet, answers: Answers) -> None:
    """`path`.csv and `path`.png: rows are labels, columns answers, the last unknown. No picture above 40 classes."""
    table = confusion(answers, images.labels, len(images.classes))
    names = [*images.classes, "unknown"]
    rows = ([name, *row] for name, row in zip(images.classes, table, strict=True))
    _write_rows(path.with_suffix(".csv"), ["label", *names], rows)
    if len(names) > _READABLE:
        return
    figure, axes = _figure(1, (7.5, 6.5))
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    _grid(axes[0], share, [f"{value:.2f}".lstrip("0") if value >= 0.005 else "" for value in share.ravel()])
    axes[0].set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes[0].set_yticks(range(len(images.classes)), images.classes)
    axes[0].set(xlabel="answer", ylabel="label", title=f"{path.stem}: share of each label's images")
    figure.savefig(path.with_suffix(".png"), dpi=110)


def write_positions(path: Path, report: CollageReport, a_a: float, columns: int) -> None:
    """A map of A_d over the tiles, and A_d against the number of filled tiles beside the single's A_a."""
    figure, axes = _figure(2, (9.5, 4))
    table = np.array(report.per_position).reshape(-1, columns)
    _grid(axes[0], table, [f"{value:.2%}" for value in table.ravel()])
    axes[0].set(title="A_d by tile, all tiles filled", xticks=[], yticks=[])
    fills = range(1, len(report.per_fill) + 1)
    axes[1].plot(fills, report.per_fill, "o-", label="collage, A_d")
    axes[1].axhline(a_a, color="black", linestyle=":", label="single, A_a")
    axes[1].set(xlabel="filled tiles", ylabel="accuracy", title="A_d by fill", xticks=list(fills))
    axes[1].yaxis.set_major_formatter("{x:.1%}")
    axes[1].legend()
    figure.savefig(path, dpi=110)


def update_card(model: LoadedModel, **parts: Any) -> None:
    """Rewrite the card with `accuracy` or `cost` measured anew; the ONNX file stays as it is."""
    card = model.card.model_copy(update=parts)
    model.path.with_suffix(".json").write_text(card.model_dump_json(indent=2) + "\n")


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """All numbers of the evaluation, one JSON file."""
    path.write_text(json.dumps(summary, indent=2) + "\n")


def _write_rows(path: Path, header: list[str], rows: Any) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _figure(columns: int, size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no global state, no display

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _grid(axes: Any, table: IntArray | Any, texts: list[str]) -> None:
    lowest = min(float(table.min()), 0.85)  # a difference of a percent between tiles must not look like a cliff
    axes.imshow(table, cmap="Blues", vmin=lowest, vmax=1.0)
    for (row, column), text in zip(np.ndindex(*table.shape), texts, strict=True):
        axes.text(column, row, text, ha="center", va="center", fontsize=8,
                  color="white" if table[row, column] > (1 + lowest) / 2 else "black")  # fmt: skip
