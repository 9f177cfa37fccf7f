"""The study of the edge: every way over every link, measured where the machine allows, and simulated; its results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collage.bench._machine import describe_machine
from collage.bench.fleet._edge_link import why_no_link
from collage.bench.fleet._edge_measure import measure
from collage.bench.fleet._edge_models import show
from collage.bench.fleet._edge_outcome import edge_row
from collage.bench.fleet._edge_plan import EdgePlan
from collage.bench.fleet._edge_sim import simulate
from collage.files import load_toml

_COLOURS = ("#808080", "#0072b2", "#d55e00", "#009e73", "#7a5bc7", "#56b4e9", "#e69f00")


def load_edge_plan(path: Path) -> EdgePlan:
    """A study's file. Raises SettingsError, one line that names the file and the key."""
    return load_toml(path, EdgePlan)


def run_edge(
    plan: EdgePlan, *, measured: bool = True, told: Callable[[float], None] = lambda share: None
) -> tuple[list[dict[str, Any]], str | None]:
    """A row for each way and link, simulated twice (with the measured run's images, and with many) and measured; and
    why nothing was measured, where it was not.
    """
    own = plan.arrivals().tolist()
    many = plan.arrivals(plan.simulated).tolist()
    shows = show(plan, max(len(own), len(many)))
    rows = []
    for megabits in plan.links:
        for way in plan.ways:
            for how, arrivals in (("simulated", own), ("simulated, many", many)):
                run = simulate(plan, way, megabits, shows, arrivals)
                rows.append(edge_row(plan, way, shows, run, megabits=megabits, how=how))
    why = why_no_link() if measured else "it was not asked for"
    if why is None:
        for way, megabits, run in measure(plan, shows, own, told):
            # Of a real link nobody says how long it was busy: its bytes at its rate.
            busy = replace(run, sending_seconds=run.up * 8e-6 / megabits)
            rows.append(edge_row(plan, way, shows, busy, megabits=megabits, how="measured"))
    return rows, why


def write_edge(
    plan: EdgePlan, rows: Sequence[dict[str, Any]], why: str | None, folder: Path, command: str
) -> list[Path]:
    """edge.csv, edge.png and edge.json with the command and the conditions. why: nothing was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture, conditions = (folder / f"edge.{end}" for end in ("csv", "png", "json"))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    said = {"command": command, "plan": plan.model_dump(mode="json"), "machine": describe_machine()}
    conditions.write_text(json.dumps(said | ({} if why is None else {"not measured": why}), indent=1) + "\n")
    _draw(plan, rows).savefig(picture, dpi=130)
    return [table, picture, conditions]


def _draw(plan: EdgePlan, rows: Sequence[dict[str, Any]]) -> Any:
    """Latency and bytes against the link: lines are simulated, marks are measured."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, which only the picture needs

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    shown = (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"), ("bytes_up", "bytes up the link, an image"))
    for axes, (metric, label) in zip(panels, shown, strict=True):
        for way, colour in zip(plan.ways, _COLOURS * len(plan.ways), strict=False):
            for how, look in (("simulated, many", "-"), ("measured", "o")):
                own = [row for row in rows if row["way"] == way.name and row["how"] == how and row[metric] is not None]
                name = way.name if how == "simulated, many" else None
                axes.plot([row["up_mbit"] for row in own], [row[metric] for row in own], look, color=colour, label=name)
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.set_xticks(plan.links, [f"{link:g}" for link in plan.links])
        axes.minorticks_off()
        axes.set_xlabel("uplink, Mbit/s")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    return figure
