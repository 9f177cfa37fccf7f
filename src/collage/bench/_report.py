"""What a finished bench leaves: rows as JSON and CSV, a table in Markdown, a picture, the conditions."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from collage.bench._figures import plot_latencies
from collage.bench._journal import TurnResult
from collage.bench._settings import BenchSettings
from collage.bench._summary import Row
from collage.bench._verdict import STRAGGLERS, verdicts

_COLUMNS = ("policy", "mean", "std", "p50", "p99", "p99 95%", "p99.9", "degraded", "extra work", "A_o", "A_a")


def write_report(
    folder: Path,
    settings: BenchSettings,
    results: Sequence[TurnResult],
    rows: Sequence[Row],
    conditions: dict[str, object],
) -> list[Path]:
    """Write `<name>.json` into `folder`, everything else into `folder/<name>/`; gives the paths.

    `<name>.json` is the list of rows, in seconds and fractions.
    """
    own = folder / settings.name
    own.mkdir(parents=True, exist_ok=True)
    records = [row.model_dump() for row in rows]
    paths = [folder / f"{settings.name}.json", own / "table.csv", own / "table.md", own / "conditions.json"]
    paths[0].write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    with paths[1].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Row.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    paths[2].write_text(markdown(rows), "utf-8")
    paths[3].write_text(json.dumps(conditions, indent=1) + "\n", "utf-8")
    paths.append(own / "latency.png")
    plot_latencies(settings, results, rows, paths[-1])
    return paths


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, one for each kind of straggler and load, and what it says. Milliseconds and per cent."""
    parts = []
    for straggler, load in dict.fromkeys((row.straggler, row.load) for row in rows):
        lines = [f"**{STRAGGLERS[straggler].capitalize()}, load {load:g}** (ms)", ""]
        lines += ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
        for row in rows:
            if (row.straggler, row.load) == (straggler, load):
                lines.append("| " + " | ".join(_cells(row, bold="**")) + " |")
        parts.append("\n".join(lines))
    said = "\n".join(f"- {sentence}" for sentence in [*verdicts(rows), *remarks(rows)])
    return "\n\n".join([*parts, said]).rstrip() + "\n"


def remarks(rows: Sequence[Row]) -> list[str]:
    """What a reader must know beside the table: what a dagger means, and how far the machine was from its limits."""
    said = []
    if any(row.overloaded for row in rows):
        said.append(
            "† overloaded: with its extra work the policy asks for nearly all of the workers' time or more, so that its"
            " queue grows while the load lasts, and its latencies tell the length of a turn."
        )
    if rows:
        scales = ", ".join(f"{scale:g}" for scale in dict.fromkeys(row.scale for row in rows))
        shares = [row.cpu_share for row in rows if row.cpu_share is not None]
        busy = f"{min(shares):.0%} to {max(shares):.0%}" if shares else "an unknown share"
        overruns = max(row.overrun_share for row in rows)
        said.append(
            f"Service times x {scales}. Gateway, load and {rows[0].workers} workers took {busy} of the machine's cores;"
            f" at most {overruns:.2%} of a row's jobs were held up by the machine."
        )
    if failed := sum(row.failed for row in rows):
        said.append(f"{failed} requests got no answer, and are in no other figure.")
    return said


def terminal_table(rows: Sequence[Row]) -> Table:
    """The table for a terminal, a section for each kind of straggler and load."""
    caption = "\n".join(["milliseconds; the default policy is bold", *remarks(rows)])
    table = Table(*_COLUMNS, caption=caption, caption_justify="left")
    cell = None
    for row in rows:
        if (row.straggler, row.load) != cell:
            cell = (row.straggler, row.load)
            table.add_section()
            table.add_row(f"[italic]{STRAGGLERS[row.straggler]}, load {row.load:g}[/italic]")
        table.add_row(*_cells(row), style="bold" if row.default else None)
    return table


def _cells(row: Row, bold: str = "") -> list[str]:
    mark = bold if row.default else ""
    return [
        f"{mark}{row.policy}{mark}" + " †" * row.overloaded,
        *(f"{value * 1000:.1f}" for value in (row.mean, row.std, row.p50)),
        f"{mark}{row.p99 * 1000:.1f}{mark}",
        f"{row.p99_low * 1000:.1f}–{row.p99_high * 1000:.1f}" if row.blocks > 1 else "-",
        f"{row.p999 * 1000:.1f}",
        *(f"{value:.1%}" for value in (row.degraded_share, row.extra_work)),
        *(f"{value:.2%}" for value in (row.a_o, row.a_a)),
    ]
