"""Several gateways before one pool of workers: what the simulated experiments of it leave behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collage.bench.figures import draw
from collage.bench.report import write_table
from collage.bench.simulated import Experiment, SimulatedRow, Size
from collage.simulation import PointResult

_TIMES = {"p50": "p50_ms", "p99": "p99_ms", "p999": "p999_ms", "busiest_p99": "busiest_p99_ms"}


def write_gateways(
    folder: Path,
    experiment: Experiment,
    size: Size,
    rows: Sequence[SimulatedRow],
    merged: Sequence[PointResult],
    *,
    command: str,
) -> list[Path]:
    """NAME.csv with all that was measured, NAME.png and NAME.json with the command and the experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture, conditions = (folder / f"{experiment.name}.{end}" for end in ("csv", "png", "json"))
    write_table(table, rows)
    draw(experiment, rows, merged, [picture])
    said = {"command": command, "size": size.model_dump(), "experiment": experiment.model_dump(mode="json")}
    conditions.write_text(json.dumps(said, indent=1) + "\n")
    return [table, picture, conditions]


def gateway_rows(rows: Sequence[SimulatedRow], command: str) -> list[dict[str, Any]]:
    """What `fleet.json` has of each row: the cell, what it cost, and what came of it. Times are milliseconds."""
    found = []
    for row in rows:
        policy, _, pool = row.label.partition(", ")
        cell = {name.removeprefix("gateways."): value for name, value in row.cell}
        times = {said: round(row.metrics[name].value * 1e3, 1) for name, said in _TIMES.items() if name in row.metrics}
        found.append(
            {"experiment": row.experiment, **cell, "policy": policy, "pool": pool}
            | times
            | {
                "extra_work": round(row.extra_work, 4),
                "degraded_share": round(row.metrics["degraded_share"].value, 4),
                "a_o": round(row.a_o, 4),
                "a_a": round(row.a_a, 4),
                "tiles_per_backup": round(row.metrics["tiles_per_backup"].value, 2),
                "moved_per_query": round(row.metrics["moved_per_query"].value, 4),
                "rejected": row.rejected,
                "queries": row.requests,
                "seeds": len(row.seeds),
                "overloaded": row.overloaded,
                "command": command,
            }
        )
    return found
