"""Simulated rows in the form of a live bench's, so that one reader takes both."""

from __future__ import annotations

from typing import Any

from collage.bench._summary import PERCENTILES
from collage.bench.report._store import Result
from collage.bench.simulated import SimulatedRow


def tail_rows(result: Result) -> list[dict[str, Any]]:
    """The kept rows of an experiment: every key of a live bench's row, `kind` = "simulated", and a few more keys.

    More: `experiment`, `label`, `cell` and `knobs` say which row of the experiment's table it is;
    `accuracy_change` (with `_low`, `_high`) is A_o - A_a from the same queries. What only a real machine has
    (`cpu_share`) is null, or 0. With `metric` = "round", latencies are of rounds; what is not measured of them is null.
    """
    return [_record(row) for row in result.rows if row.kept]


def _record(row: SimulatedRow) -> dict[str, Any]:
    def estimate(name: str) -> tuple[float | None, float | None, float | None]:
        found = row.metrics.get(f"round_{name}" if row.metric == "round" else name)
        return (found.value, found.low, found.high) if found else (None, None, None)

    record: dict[str, Any] = {
        "kind": "simulated",
        "metric": row.metric,
        "policy": row.preset,
        "code": row.code,
        "default": row.default,
        "straggler": row.straggler,
        "cancel": row.cancel,
        "load": row.load,
        "workers": row.workers,
        "grid": row.grid,
        "capacity": row.capacity,
        "requests": row.requests,
        "seeds": row.seeds,
        "mean": estimate("mean")[0],
        "std": estimate("std")[0],
        "degraded_share": row.metrics["degraded_share"].value,
        "extra_work": row.extra_work,
        "a_o": row.a_o,
        "a_a": row.a_a,
        "overloaded": row.overloaded,
        "scale": row.scale,
        "blocks": len(row.seeds),
        "failed": row.rejected,
        "backups_per_query": row.backups_per_query,
        "cpu_share": None,
        "overrun_share": 0.0,
        "lateness_p99": 0.0,
    }
    for name in PERCENTILES:
        record[name], record[f"{name}_low"], record[f"{name}_high"] = estimate(name)
    change = row.metrics["accuracy_change"]
    return record | {
        "experiment": row.experiment,
        "label": row.label,
        "cell": dict(row.cell),
        "knobs": dict(row.knobs),
        "accuracy_change": change.value,
        "accuracy_change_low": change.low,
        "accuracy_change_high": change.high,
    }
