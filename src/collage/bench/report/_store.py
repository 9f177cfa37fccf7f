"""What a simulated experiment leaves in its folder, and reading it back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from collage.bench._machine import describe_machine
from collage.bench.figures import draw
from collage.bench.simulated import Experiment, SimulatedRow, Size
from collage.exceptions import SettingsError
from collage.files import first_problem
from collage.simulation import PointResult

RESULT = "experiment.json"


class Result(BaseModel):
    """One experiment that has been run."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "simulated"
    command: str
    size: Size
    machine: dict[str, Any]
    experiment: Experiment
    rows: list[SimulatedRow]


def write_result(
    folder: Path,
    experiment: Experiment,
    size: Size,
    rows: Sequence[SimulatedRow],
    merged: Sequence[PointResult],
    *,
    command: str,
) -> list[Path]:
    """Write table.csv (all rows, those tried in a tuning too), the figure as PNG and SVG, and experiment.json.

    merged: each row's pooled result, for figures of whole distributions. Gives the paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("table.csv", "figure.png", "figure.svg", RESULT)]
    write_table(paths[0], rows)
    draw(experiment, rows, merged, paths[1:3])
    result = Result(command=command, size=size, machine=describe_machine(), experiment=experiment, rows=list(rows))
    paths[3].write_text(result.model_dump_json(indent=1) + "\n", "utf-8")
    return paths


def write_table(path: Path, rows: Sequence[SimulatedRow]) -> None:
    """One line a row: what varies, then what was measured. Seconds, fractions, joules."""
    axes = list(dict.fromkeys(name for row in rows for name, _ in row.cell))
    knobs = list(dict.fromkeys(name for row in rows for name, _ in row.knobs))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    plain = ("preset", "kept", "code", "workers", "grid", "requests", "rejected", "overloaded", "a_o", "a_a")
    header = [f"axis.{name}" for name in axes] + ["policy"] + [f"knob.{name}" for name in knobs] + list(plain)
    header += [f"{name}{end}" for name in metrics for end in ("", "_low", "_high")]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            cell, own = dict(row.cell), dict(row.knobs)
            line = [cell.get(name) for name in axes] + [row.label] + [own.get(name) for name in knobs]
            line += [getattr(row, name) for name in plain]
            for name in metrics:
                found = row.metrics.get(name)
                line += [found.value, found.low, found.high] if found else [None] * 3
            writer.writerow(line)


def read_results(folder: Path) -> list[tuple[Path, Result]]:
    """All simulated experiments in folders of this folder, in the order of their place in the report.

    Raises SettingsError for a file that is not what `write_result` writes.
    """
    found = []
    for path in sorted(folder.glob(f"*/{RESULT}")):
        try:
            found.append((path.parent, Result.model_validate_json(path.read_text("utf-8"))))
        except ValidationError as error:
            raise SettingsError(
                f"{path}: is of another version, or damaged ({first_problem(error)}); run its experiment again"
            ) from None
    return sorted(found, key=lambda item: (item[1].experiment.order, item[1].experiment.name))
