"""A map: which policy is right, by two axes and a panel, and how much lower its p99 is than without backups."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from collage.bench.figures._look import looks, panel_title, panel_values, x_label
from collage.bench.simulated import Experiment, SimulatedRow, axis_name, choices, value_name

# On these, light text is read better. Text is not quite white or black, so that a page that turns these around for
# dark screens leaves it as it is.
_DARK = {
    "#0072b2",
    "#000000",
    "#d55e00",
    "#009e73",
    "#8c6d31",
    "#808080",
    "#7a5bc7",
}


def draw_map(experiment: Experiment, rows: Sequence[SimulatedRow]) -> Figure:
    """The figure of kept rows: a square a cell, in the right policy's colour, with its short name and its gain."""
    x, y, panels = str(experiment.figure.x), experiment.figure.y[0], experiment.figure.panels
    found, look = choices(rows, experiment.map), looks(experiment)
    xs, ys = (list(dict.fromkeys(dict(row.cell)[axis] for row in rows)) for axis in (x, y))
    values = panel_values(experiment, rows)
    figure = Figure(
        figsize=(max(4.5, (0.62 * len(xs) + 0.4) * len(values) + 0.8), 0.5 * len(ys) + 1.9), layout="constrained"
    )
    grid = figure.subplots(1, len(values), squeeze=False, sharey=True)[0]
    for axes, value in zip(grid, values, strict=True):
        for choice in found:
            cell = dict(choice.cell)
            if panels is not None and cell[panels] != value:
                continue
            own = look[choice.right.label]
            column, line = xs.index(cell[x]), ys.index(cell[y])
            axes.add_patch(Rectangle((column, line), 1, 1, facecolor=own.colour, edgecolor="white", linewidth=1.5))
            said = choice.right.label if choice.gain is None else f"{choice.right.label}\n{choice.gain:.1f}×"
            axes.text(
                column + 0.5, line + 0.5, said, ha="center", va="center", fontsize=6.5, linespacing=1.3,
                color="#fffffe" if own.colour in _DARK else "#000001",
            )  # fmt: skip
        axes.set(xlim=(0, len(xs)), ylim=(0, len(ys)), title=panel_title(experiment, value))
        axes.set_xticks([index + 0.5 for index in range(len(xs))], [value_name(x, each) for each in xs])
        axes.set_yticks([index + 0.5 for index in range(len(ys))], [value_name(y, each) for each in ys])
        axes.tick_params(length=0)
        axes.set_xlabel(x_label(experiment))
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
    grid[0].set_ylabel(axis_name(y))
    used = dict.fromkeys(choice.right.label for choice in found)
    handles = [Patch(facecolor=look[label].colour, label=label) for label in look if label in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=max(1, min(len(handles), 6)))
    return figure
