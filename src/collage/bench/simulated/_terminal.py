"""The rows of a simulated experiment for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from collage.bench.simulated._names import value_name
from collage.bench.simulated._row import SimulatedRow


def terminal_table(rows: Sequence[SimulatedRow], *, title: str, most: int | None = None) -> Table:
    """Milliseconds and per cent; what was tried in a tuning and not kept is left out. most: only the last so many."""
    rows = [row for row in rows if row.kept]
    axes = list(dict.fromkeys(name for row in rows for name, _ in row.cell))
    knobs = list(dict.fromkeys(name for row in rows for name, _ in row.knobs))
    rounds = any(row.metric == "round" for row in rows)
    times = ("round_mean", "round_std", "round_p99") if rounds else ("mean", "std", "p50", "p99", "p999")
    table = Table(title=title, caption=_caption(rows), caption_justify="left")
    names = [name.rpartition(".")[2] for name in (*axes, *knobs)]
    shown = [name.replace("round_", "").replace("p999", "p99.9") for name in times]
    for column in (*names[: len(axes)], "policy", *names[len(axes) :], *shown, "extra", "A_o - A_a", "degraded"):
        table.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)
    for row in rows[-most:] if most else rows:
        cell, own = dict(row.cell), dict(row.knobs)
        figures = [_milliseconds(row.metrics[name].value) if name in row.metrics else "" for name in times]
        table.add_row(
            *(value_name(name, cell.get(name)) for name in axes),
            row.label + " †" * row.overloaded,
            *(value_name(name, own.get(name)) for name in knobs),
            *figures,
            f"{row.extra_work:.1%}",
            f"{row.metrics['accuracy_change'].value * 100:+.2f}",
            f"{row.metrics['degraded_share'].value:.1%}",
            style="bold" if row.ours else None,
        )
    return table


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.0f}" if value >= 999.5 else f"{value:.1f}"


def _caption(rows: Sequence[SimulatedRow]) -> str:
    said = "milliseconds; accuracy in percentage points"
    if any(row.overloaded for row in rows):
        said += "\n† overloaded: its queue grows as long as the load lasts"
    return said
