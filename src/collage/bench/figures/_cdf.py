"""Whole distributions: the share of queries that take longer than t, a line a policy, a column a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from collage.bench.figures._look import in_panel, legend, looks, panel_title, panel_values
from collage.bench.simulated import Experiment, SimulatedRow
from collage.simulation import PointResult

_LEAST = 2e-4  # share below which a line is made of a handful of queries


def draw_cdf(experiment: Experiment, rows: Sequence[SimulatedRow], merged: Sequence[PointResult]) -> Figure:
    """The figure of kept rows. merged: each row's pooled result. The share is logarithmic: a tenth a step."""
    values, look = panel_values(experiment, rows), looks(experiment)
    figure = Figure(figsize=(max(5.4, 3.4 * len(values) + 0.8), 3.9), layout="constrained")
    panels = figure.subplots(1, len(values), squeeze=False, sharey=True)[0]
    pooled = dict(zip(map(id, rows), merged, strict=True))
    for axes, value in zip(panels, values, strict=True):
        own = in_panel(experiment, rows, value)
        for label, each in look.items():
            for row in (row for row in own if row.label == label):
                result = pooled[id(row)]
                times, shares = (result.rounds if row.metric == "round" else result.latencies).cdf()
                axes.plot(
                    times * 1000, 1 - shares, drawstyle="steps-post", color=each.colour, linestyle=each.line,
                    linewidth=1.4, label=label,
                )  # fmt: skip
        for share, name in ((0.01, "p99"), (0.001, "p99.9")):
            axes.axhline(share, color="#808080", linewidth=0.6, alpha=0.6, zorder=0)
            axes.annotate(name, (1.0, share), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        fit = [row.metrics["p999"].high for row in own if not row.overloaded and "p999" in row.metrics]
        axes.set(yscale="log", ylim=(_LEAST, 1.1), title=panel_title(experiment, value), xlabel="latency, ms")
        if fit:
            axes.set_xlim(0, float(np.max(fit)) * 1000 * 1.15)
        beyond = list(dict.fromkeys(row.label for row in own if row.overloaded))
        if beyond:
            axes.annotate(
                f"overloaded: {', '.join(beyond)}", (0.98, 0.97), xycoords="axes fraction", ha="right", va="top",
                fontsize=7,
            )  # fmt: skip
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("share that takes longer")
    legend(figure, panels.tolist())
    return figure
