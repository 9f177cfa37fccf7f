"""Metrics of a few settings side by side: bars, a group a setting, a panel a metric."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from collage.bench.figures._look import legend, looks, shown, x_label
from collage.bench.simulated import METRICS, Experiment, SimulatedRow


def draw_bars(experiment: Experiment, rows: Sequence[SimulatedRow]) -> Figure:
    """The figure of kept rows. Of rows with the same label and x, the first is drawn."""
    metrics, look = experiment.figure.y, looks(experiment)
    figure = Figure(figsize=(3.0 * len(metrics) + 0.8, 3.4), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    places = list(dict.fromkeys(row.x for row in rows))
    width = 0.8 / len(look)
    for axes, metric in zip(panels, metrics, strict=True):
        for number, (label, own) in enumerate(look.items()):
            drawn = {row.x: row.metrics[metric] for row in reversed(rows) if row.label == label}
            at = [index + (number - (len(look) - 1) / 2) * width for index, x in enumerate(places) if x in drawn]
            found = [drawn[x] for x in places if x in drawn]
            heights = [shown(metric, each.value) for each in found]
            spread = [
                [max(0.0, height - shown(metric, each.low)) for height, each in zip(heights, found, strict=True)],
                [max(0.0, shown(metric, each.high) - height) for height, each in zip(heights, found, strict=True)],
            ]
            axes.bar(
                at, heights, width * 0.92, label=label, color=own.colour, yerr=spread, ecolor="#404040",
                hatch="" if own.line == "-" else "///", edgecolor="white", linewidth=0.5, error_kw={"linewidth": 1},
            )  # fmt: skip
        axes.set_title(METRICS[metric])
        axes.set_xticks(range(len(places)), [f"{x:g}" if isinstance(x, int | float) else str(x) for x in places])
        axes.set_xlabel(x_label(experiment))
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    legend(figure, [panels[0]])
    return figure
