"""Metrics against something that varies: a line a policy with its interval, a row a metric, a column a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from collage.bench.figures._look import (
    POINTS,
    Look,
    in_panel,
    legend,
    looks,
    panel_title,
    panel_values,
    shown,
    x_label,
)
from collage.bench.simulated import METRICS, Experiment, SimulatedRow, value_name

_PERCENT = {"extra_work", "degraded_share", "utilisation"}


def draw_lines(experiment: Experiment, rows: Sequence[SimulatedRow]) -> Figure:
    """The figure of kept rows."""
    metrics, values = experiment.figure.y, panel_values(experiment, rows)
    size = (max(5.2, 3.4 * len(values) + 0.8), 2.5 * len(metrics) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(metrics), len(values), squeeze=False, sharex="col", sharey="row")
    places = _places(rows)
    for column, value in enumerate(values):
        own = in_panel(experiment, rows, value)
        for number, metric in enumerate(metrics):
            _panel(grid[number][column], experiment, own, metric, places)
        grid[0][column].set_title(panel_title(experiment, value))
        grid[-1][column].set_xlabel(x_label(experiment))
    for number, metric in enumerate(metrics):
        grid[number][0].set_ylabel(METRICS[metric])
        _limit(grid[number], rows, metric, log=experiment.figure.log_y and metric not in _PERCENT)
    legend(figure, grid.ravel().tolist())
    return figure


def _places(rows: Sequence[SimulatedRow]) -> dict[Any, float] | None:
    """Where names stand on the x axis, in their order; None where all are numbers."""
    found = list(dict.fromkeys(row.x for row in rows if row.x is not None))
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in found):
        return None
    return {x: float(index) for index, x in enumerate(found)}


def _panel(
    axes: Axes, experiment: Experiment, rows: Sequence[SimulatedRow], metric: str, places: dict[Any, float] | None
) -> None:
    swept = {entry.name for entry in experiment.policies if entry.sweep}
    for label, look in looks(experiment).items():
        own = [row for row in rows if row.label == label and metric in row.metrics]
        for series in _series(own) if label in swept else filter(None, [own]):
            if series[0].x is None:
                _level(axes, series[0], metric, look)
            else:
                _line(axes, series, metric, look, places)
    if experiment.figure.log_x and places is None:
        axes.set_xscale("log")
        ticks = sorted({row.x for row in rows if row.x is not None})
        axes.set_xticks(ticks, [value_name(str(experiment.figure.x), tick) for tick in ticks])
        axes.minorticks_off()
    if places is not None:
        axes.set_xticks(list(places.values()), list(map(str, places)))
    axes.grid(alpha=0.25)


def _series(rows: Sequence[SimulatedRow]) -> list[list[SimulatedRow]]:
    """A swept policy's rows as lines: one for each value of what is neither drawn as x nor as a panel."""
    found: dict[object, list[SimulatedRow]] = {}
    for row in rows:
        rest = tuple((name, value) for name, value in (*row.cell, *row.knobs) if value != row.x)
        found.setdefault(rest, []).append(row)
    return list(found.values())


def _line(axes: Axes, rows: Sequence[SimulatedRow], metric: str, look: Look, places: dict[Any, float] | None) -> None:
    def place(row: SimulatedRow) -> float:
        return float(row.x) if places is None else places[row.x]

    rows = sorted(rows, key=place)
    xs = [place(row) for row in rows]
    own = [row.metrics[metric] for row in rows]
    axes.plot(
        xs, [shown(metric, e.value) for e in own], color=look.colour, linestyle=look.line, marker=look.marker,
        markersize=4, linewidth=1.4, label=rows[0].label,
    )  # fmt: skip
    low, high = [shown(metric, e.low) for e in own], [shown(metric, e.high) for e in own]
    axes.fill_between(xs, low, high, color=look.colour, alpha=0.18, linewidth=0)
    beyond = [index for index, row in enumerate(rows) if row.overloaded]
    if beyond:  # hollow: what it shows tells the length of the run
        axes.plot(
            [xs[index] for index in beyond], [shown(metric, own[index].value) for index in beyond], linestyle="none",
            marker=look.marker, markersize=4.5, markerfacecolor="white", markeredgecolor=look.colour, zorder=5,
        )  # fmt: skip


def _level(axes: Axes, row: SimulatedRow, metric: str, look: Look) -> None:
    """A policy that does not have what varies: the same everywhere."""
    estimate = row.metrics[metric]
    axes.axhline(shown(metric, estimate.value), color=look.colour, linestyle=look.line, linewidth=1.2, label=row.label)
    axes.axhspan(shown(metric, estimate.low), shown(metric, estimate.high), color=look.colour, alpha=0.12, linewidth=0)


def _limit(axes: Sequence[Axes], rows: Sequence[SimulatedRow], metric: str, *, log: bool) -> None:
    """Overloaded policies may leave the picture: they must not squeeze the others."""
    fit = [shown(metric, row.metrics[metric].value) for row in rows if metric in row.metrics and not row.overloaded]
    for each in axes:
        if log and fit and min(fit) > 0:
            each.set_yscale("log")
            each.set_ylim(min(fit) * 0.8, max(fit) * 1.25)
            each.yaxis.set_major_formatter("{x:g}")
            each.yaxis.set_minor_formatter("{x:g}" if max(fit) < 10 * min(fit) else "")
        elif fit and metric not in POINTS:
            each.set_ylim(0, max(fit) * 1.15 or 1.0)
        if metric in _PERCENT:
            each.yaxis.set_major_formatter(PercentFormatter(1.0))
