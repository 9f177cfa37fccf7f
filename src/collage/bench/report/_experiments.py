"""A section for each simulated experiment: its figure, what it says, and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collage.bench.report._section import Picture, Section, Table
from collage.bench.report._store import Result
from collage.bench.report._words import say
from collage.bench.simulated import SimulatedRow, axis_name, value_name

_ASKED = (100_000, 5)  # queries of a point and seeds, from which on a figure is called final


def experiment_section(folder: Path, result: Result) -> Section:
    """The section of one experiment; folder: where its files are."""
    experiment = result.experiment
    return Section(
        experiment.name,
        experiment.title,
        question=experiment.question,
        paragraphs=[" ".join(say(experiment, result.rows))],
        picture=Picture(folder / "figure.png", folder / "figure.svg", experiment.title),
        folded=numbers([row for row in result.rows if row.kept]),
        notes=[how(folder, result)],
    )


def how(folder: Path, result: Result) -> str:
    """How a figure was made."""
    size = result.size
    said = f"Simulated: {size.queries:,} counted queries a point and seed, "
    said += f"{size.seeds} seeds, bands are 95% intervals over seeds" if size.seeds > 1 else "one seed, no intervals"
    if (size.queries, size.seeds) < _ASKED and size.queries * size.seeds < _ASKED[0]:
        said += f" (a first look: fewer than {_ASKED[0]:,} queries a point)"
    tried = len(result.rows) - sum(row.kept for row in result.rows)
    if tried:
        said += f"; {tried} more rows were tried in tunings, and are in the table"
    remark = f" {result.experiment.remark}" if result.experiment.remark else ""
    return f"{said}.{remark} Everything as numbers: `{folder.name}/table.csv`. Made by `{result.command}`."


def numbers(rows: Sequence[SimulatedRow]) -> Table:
    """The kept rows. Milliseconds, per cent, points."""
    axes = list(dict.fromkeys(name for row in rows for name, _ in row.cell))
    knobs = list(dict.fromkeys(name for row in rows for name, _ in row.knobs))
    rounds = any(row.metric == "round" for row in rows)
    times = ("round_mean", "round_std", "round_p99") if rounds else ("mean", "std", "p50", "p99", "p999")
    header = [*map(axis_name, axes), "policy", *map(axis_name, knobs)]
    header += [name.replace("_", " ").replace("p999", "p99.9") for name in times]
    header += ["extra work", "A_o - A_a", "degraded"]
    lines = []
    for row in rows:
        cell, own = dict(row.cell), dict(row.knobs)
        line = [value_name(name, cell.get(name)) for name in axes]
        line += [f"**{row.label}**" if row.ours else row.label, *(value_name(name, own.get(name)) for name in knobs)]
        line[len(axes)] += " †" if row.overloaded else ""
        line += [_time(row, name) for name in times]
        change = row.metrics["accuracy_change"].value * 100
        line += [f"{row.extra_work:.1%}", f"{change:+.2f}", f"{row.metrics['degraded_share'].value:.1%}"]
        lines.append(line)
    return Table(header, lines, left=len(axes) + 1 + len(knobs))


def _time(row: SimulatedRow, name: str) -> str:
    found = row.metrics.get(name)
    if found is None:
        return ""
    spread = max(found.high - found.value, found.value - found.low) * 1000
    return f"{found.value * 1000:.1f}" + (f" ± {spread:.1f}" if spread and name.endswith("p99") else "")
