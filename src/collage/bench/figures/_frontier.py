"""What p99 costs: p99 against extra work, and below it what the answers lose in accuracy, a column a panel."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from collage.bench.figures._look import in_panel, legend, looks, panel_title, panel_values, shown
from collage.bench.simulated import METRICS, Experiment, SimulatedRow


def draw_frontier(experiment: Experiment, rows: Sequence[SimulatedRow]) -> Figure:
    """The figure of kept rows. Overloaded ones are left out: they are no choice. Crosses are intervals."""
    values, look = panel_values(experiment, rows), looks(experiment)
    figure = Figure(figsize=(max(5.2, 3.4 * len(values) + 0.8), 5.4), layout="constrained")
    grid = figure.subplots(2, len(values), squeeze=False, sharex="all", sharey="row", height_ratios=(2, 1))
    usable = [row for row in rows if not row.overloaded]
    for column, value in enumerate(values):
        own = in_panel(experiment, usable, value)
        for label, each in look.items():
            line = sorted((row for row in own if row.label == label), key=lambda row: row.extra_work)
            if not line:
                continue
            works = [row.metrics["extra_work"] for row in line]
            for axes, metric in ((grid[0][column], line[0].compared), (grid[1][column], "accuracy_change")):
                found = [row.metrics[metric] for row in line]
                heights = [shown(metric, estimate.value) for estimate in found]
                axes.errorbar(
                    [work.value for work in works], heights,
                    xerr=_spread([(w.value, max(0.0, w.low), w.high) for w in works]),
                    yerr=_spread([tuple(shown(metric, part) for part in (e.value, e.low, e.high)) for e in found]),
                    color=each.colour, linestyle=each.line, marker=each.marker, markersize=4.5, linewidth=1.0,
                    elinewidth=0.8, label=label,
                )  # fmt: skip
        grid[0][column].set_title(panel_title(experiment, value))
        grid[1][column].set_xlabel("extra work")
        grid[1][column].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in grid[:, column]:
            axes.grid(alpha=0.25)
    compared = usable[0].compared if usable else "p99"
    heights = [shown(compared, row.p99) for row in usable]
    if heights:  # a long error bar must not squeeze the others
        grid[0][0].set_ylim(min(heights) * 0.85, max(heights) * 1.2)
        grid[0][0].set_xlim(-0.01, max(row.extra_work for row in usable) * 1.1 + 0.01)
    grid[0][0].set_ylabel(METRICS[compared])
    grid[0][0].set_yscale("log")
    grid[0][0].yaxis.set_major_formatter("{x:g}")
    grid[0][0].yaxis.set_minor_formatter("{x:g}")
    grid[1][0].set_ylabel(METRICS["accuracy_change"])
    legend(figure, grid[0].tolist())
    return figure


def _spread(found: Sequence[tuple[float, ...]]) -> list[list[float]]:
    """Error bars of (value, low, high)."""
    return [[max(0.0, value - low) for value, low, _ in found], [max(0.0, high - value) for value, _, high in found]]
