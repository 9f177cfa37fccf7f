"""What the study of a killed node found: numbers, tables, a picture."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from collage.bench._machine import describe_machine
from collage.bench.fleet._ray_study import Asked, RayResult

_COLOURS = {"single": "#0072b2", "collage": "#d55e00"}


def summarise_ray(result: RayResult) -> dict[str, Any]:
    """lost: queries without an answer; double: answers beyond one a query; wrong: singles' answers of another class.

    before, during, after: the node was there; some workers were not up; all were again. recovered_after_s: from the
    kill until all were up; None: not within two minutes.
    """
    asked, killed = result.asked, result.killed
    answered = [one for one in asked if not math.isnan(one.seconds)]
    recovered = math.inf if math.isnan(result.recovered) else result.recovered
    parts = {
        "before": [one for one in asked if one.arrival < killed],
        "during": [one for one in asked if killed <= one.arrival < recovered],
        "after": [one for one in asked if one.arrival >= recovered],
    }
    return {
        "nodes": result.plan.nodes,
        "workers": result.plan.workers,
        "workers_killed": result.workers_killed,
        "requests": len(asked),
        "lost": len(asked) - len(answered),
        "why_lost": dict(Counter(one.source for one in asked if math.isnan(one.seconds))),
        "double": max(0, result.answers - len(answered)),
        "wrong": sum(one.wrong for one in asked),
        "degraded": sum(one.source not in ("single", "replica") for one in answered),
        **{f"p50_{name}_ms": _ms(part, 0.5) for name, part in parts.items()},
        **{f"p99_{name}_ms": _ms(part, 0.99) for name, part in parts.items()},
        **{f"requests_{name}": len(part) for name, part in parts.items()},
        "noticed_after_s": _after(result.noticed, killed),
        "recovered_after_s": _after(result.recovered, killed),
        "grown_after_join_s": _after(result.grown, result.joined),
        "plan": asdict(result.plan),
        "machine": describe_machine("ray"),
    }


def write_ray(result: RayResult, folder: Path, command: str) -> list[Path]:
    """queries.csv, workers.csv, ray.json and ray.png."""
    folder.mkdir(parents=True, exist_ok=True)
    queries, workers, numbers, picture = (
        folder / name for name in ("queries.csv", "workers.csv", "ray.json", "ray.png")
    )
    _table(
        queries,
        ["arrival", "seconds", "source", "wrong"],
        [[f"{one.arrival:.3f}", f"{one.seconds:.4f}", one.source, int(one.wrong)] for one in result.asked],
    )
    most = max((len(moment.by_node) for moment in result.moments), default=0)
    _table(
        workers,
        ["seconds", "nodes", "workers_up", *(f"node_{number}" for number in range(most))],
        [
            [f"{seconds:.1f}", nodes, up, *by_node, *[0] * (most - len(by_node))]
            for seconds, nodes, up, by_node in result.moments
        ],
    )
    numbers.write_text(json.dumps(summarise_ray(result) | {"command": command}, indent=1) + "\n")
    _draw(result).savefig(picture, dpi=150)
    return [queries, workers, numbers, picture]


def _table(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _ms(part: list[Asked], quantile: float) -> float | None:
    own = [one.seconds for one in part if not math.isnan(one.seconds)]
    return round(float(np.quantile(own, quantile)) * 1e3, 1) if own else None


def _after(what: float, since: float) -> float | None:
    return None if math.isnan(what - since) else round(what - since, 2)


def _draw(result: RayResult) -> Any:
    """Workers by node, and below the latency of each query by its answer's source."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, which only the picture needs

    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    most = max((len(moment.by_node) for moment in result.moments), default=0)
    layers = [[(*moment.by_node, *[0] * most)[node] for moment in result.moments] for node in range(most)]
    seconds = [moment.seconds for moment in result.moments]
    greys = [str(0.35 + 0.45 * node / max(1, most - 1)) for node in range(most)]
    if layers:
        labels = [f"node {node + 1}" for node in range(most)]
        above.stackplot(seconds, layers, colors=greys, labels=labels, step="post")
    above.set_ylabel("workers up")
    above.set_ylim(0, 1.35 * max((moment.workers_up for moment in result.moments), default=1))
    above.legend(frameon=False, ncols=4, fontsize=8, loc="upper left")
    for source in sorted({one.source for one in result.asked if not math.isnan(one.seconds)}):
        own = [one for one in result.asked if one.source == source]
        below.scatter(
            [one.arrival for one in own],
            [one.seconds * 1e3 for one in own],
            s=4,
            linewidths=0,
            color=_COLOURS.get(source, "#009e73"),
            label=source,
        )
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:.0f}")
    below.yaxis.set_minor_formatter("{x:.0f}")
    below.set_ylabel("latency, ms")
    below.set_xlabel("seconds")
    below.legend(frameon=False, fontsize=8, loc="upper right")
    for what, at in (("killed", result.killed), ("recovered", result.recovered), ("node joins", result.joined)):
        if not math.isnan(at):
            for axes in (above, below):
                axes.axvline(at, color="black", linewidth=0.8, linestyle=":")
            above.text(at, above.get_ylim()[1], what, fontsize=8, ha="center", va="bottom")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
