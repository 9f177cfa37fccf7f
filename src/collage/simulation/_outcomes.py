"""What the models say of each image, as an evaluation wrote it: so that accuracy is measured in virtual time too.

Every query shows one image, drawn at random. What a job says of it is the row of the job's model for that image: its
class is right or not, known or not, and so sure. Files of one single have the same images in the same rows.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from collage.dispatch import Outcome
from collage.exceptions import SettingsError

_COLUMNS = ("image", "label", "answer", "confidence")


class Table(NamedTuple):
    """One model's outcomes and whether they are right. Row: image x tiles + tile."""

    outcomes: tuple[Outcome, ...]
    right: tuple[bool, ...]
    tiles: int = 1  # rows of each image: one, or one for every tile of a collage

    def row(self, image: int, position: int) -> int:
        """Of an image at a position of a job."""
        return image * self.tiles + position % self.tiles


ALL_RIGHT = Table((Outcome(True, 1.0),), (True,))


def load_outcomes(path: Path) -> tuple[Table, list[str]]:
    """One model's outcomes, gzipped CSV, and the label of each image.

    Columns: image, label, answer (-1: unknown), confidence and, where there is a row for every tile, tile. Raises
    SettingsError for a file of another form. A file that was read before, and has not changed, is not read again.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise SettingsError(f"outcomes: {path}: no outcomes of an evaluation ({error})") from None


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> tuple[Table, list[str]]:
    try:
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or any(column not in rows[0] for column in _COLUMNS):
            raise ValueError(f"needs rows of {', '.join(_COLUMNS)}")
        tiles = 1 + max(int(row["tile"]) for row in rows) if "tile" in rows[0] else 1
        rows.sort(key=lambda row: (int(row["image"]), int(row.get("tile", 0))))
        order = [int(row["image"]) * tiles + int(row.get("tile", 0)) for row in rows]
        if order != list(range(len(rows))) or len(rows) % tiles:
            raise ValueError("each image, and each tile of it, needs one row, counted from 0")
        known = [int(row["answer"]) >= 0 for row in rows]
        outcomes = tuple(
            Outcome(sure, float(row["confidence"]) if sure else 0.0) for row, sure in zip(rows, known, strict=True)
        )
        right = tuple(row["answer"] == row["label"] for row in rows)
        return Table(outcomes, right, tiles), [row["label"] for row in rows[::tiles]]
    except (OSError, EOFError, ValueError, KeyError, TypeError, csv.Error, zlib.error) as error:
        raise SettingsError(f"outcomes: {path}: no outcomes of an evaluation ({error})") from None


def load_tables(paths: Mapping[str, Path]) -> dict[str, Table]:
    """Outcomes by model. Raises SettingsError where a file does not fit, or the files are not of the same images."""
    tables: dict[str, Table] = {}
    known: tuple[Path, list[str]] | None = None
    for model, path in paths.items():
        tables[model], labels = load_outcomes(path)
        if known is not None and known[1] != labels:
            raise SettingsError(f"outcomes: {path} and {known[0]} are not of the same images")
        known = path, labels
    return tables
