"""What was measured, on disk: the summary as JSON, a table of each kind as CSV, pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

_TABLES = ("reliance", "groups", "neighbours", "nothing", "strangers")


def write_folder(out: Path, summary: dict[str, Any]) -> None:
    """summary.json; calibration.csv and one CSV for each table, a row a model and case; PNG for each model."""
    models: dict[str, dict[str, Any]] = summary["models"]
    (out / "summary.json").write_text(json.dumps(_rounded(summary), indent=2) + "\n")
    for table in _TABLES:
        _write_csv(
            out / f"{table}.csv",
            [{"model": name} | row for name, found in models.items() for row in found.get(table, [])],
        )
    calibrations = [
        {"model": name, **{key: value for key, value in found["calibration"].items() if not isinstance(value, list)}}
        for name, found in models.items()
    ]
    _write_csv(out / "calibration.csv", calibrations)
    for name, found in models.items():
        _draw_reliability(out / f"reliability-{name}.png", name, found["calibration"])
    collages = {name: found for name, found in models.items() if "neighbours" in found}
    if collages:
        _draw_collages(out / "collages.png", collages)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rounded(rows))


def _rounded(value: Any) -> Any:
    """Numbers to five places."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _draw_reliability(path: Path, name: str, calibration: dict[str, Any]) -> None:
    """Accuracy against confidence, before and after the temperature; below, how many answers a bin has."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no global state, no display

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    for column, when in enumerate(("before", "after")):
        confidence, accuracy, answers = (np.array(part) for part in calibration[f"reliability_{when}"])
        edges, width = np.arange(len(answers)) / len(answers), 1 / len(answers)
        upper, lower = axes[0, column], axes[1, column]
        upper.bar(edges, accuracy, width, align="edge", edgecolor="white", label="accuracy")
        filled = answers > 0
        upper.plot(confidence[filled], accuracy[filled], "k.")
        upper.plot([0, 1], [0, 1], ":", color="black")
        temperature = 1 if when == "before" else calibration["temperature"]
        upper.set(xlim=(0, 1), ylim=(0, 1), title=f"T = {temperature:g}, ECE {calibration[f'ece_{when}']:.2%}")
        lower.bar(edges, np.maximum(answers, 0.5), width, align="edge", color="grey", edgecolor="white")
        lower.set(yscale="log", xlabel="confidence")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("answers")
    figure.suptitle(name)
    figure.savefig(path, dpi=110)


def _draw_collages(path: Path, models: dict[str, dict[str, Any]]) -> None:
    """Accuracy by kind of group, less that of the same images in random ones; answers flipped, by kind of neighbour."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    width = 0.8 / len(models)
    for number, (name, found) in enumerate(models.items()):
        at = number * width
        groups = [row for row in found["groups"] if not row["kind"].startswith(("position", "random"))]
        left.barh(
            np.arange(len(groups)) + at,
            [100 * (row["accuracy"] - row["same_images"]) for row in groups],
            width,
            label=name,
        )
        left.set_yticks(range(len(groups)), [row["kind"] for row in groups])
        rows = found["neighbours"]
        right.barh(np.arange(len(rows)) + at, [100 * row["flips"] for row in rows], width, label=name)
        right.set_yticks(range(len(rows)), [row["neighbours"] for row in rows])
    left.axvline(0, color="black", linewidth=0.8)
    left.set(xlabel="points above the same images in random groups")
    right.set(xlabel="answers changed, %")
    right.legend()
    figure.savefig(path, dpi=110)
