"""The figure of an experiment, by its kind, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from collage.bench.figures._bars import draw_bars
from collage.bench.figures._cdf import draw_cdf
from collage.bench.figures._frontier import draw_frontier
from collage.bench.figures._lines import draw_lines
from collage.bench.figures._look import style
from collage.bench.figures._map import draw_map
from collage.bench.simulated import Experiment, SimulatedRow
from collage.simulation import PointResult

_DPI = 130


def draw(
    experiment: Experiment, rows: Sequence[SimulatedRow], merged: Sequence[PointResult], paths: Sequence[Path]
) -> None:
    """Write the figure of the kept rows to each path, in the form that its ending names.

    merged: each row's pooled result, which only a figure of whole distributions needs.
    """
    kept = [row for row in rows if row.kept]
    with style():
        figure = _figure(experiment, kept, [each for row, each in zip(rows, merged, strict=True) if row.kept])
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, dpi=_DPI, metadata=metadata)


def _figure(experiment: Experiment, rows: Sequence[SimulatedRow], merged: Sequence[PointResult]) -> Figure:
    match experiment.figure.kind:
        case "lines":
            return draw_lines(experiment, rows)
        case "bars":
            return draw_bars(experiment, rows)
        case "frontier":
            return draw_frontier(experiment, rows)
        case "map":
            return draw_map(experiment, rows)
        case "cdf":
            return draw_cdf(experiment, rows, merged)
