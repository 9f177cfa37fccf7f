"""What backups cost and how good their answers are, as two pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# One look a code in both pictures: the collages are the strong colours.
_STYLES: dict[str, tuple[str, str]] = {
    "collage": ("tab:red", "s"),
    "collage-isolated": ("tab:orange", "D"),
    "collage-yolo": ("tab:brown", "P"),
    "batch": ("tab:blue", "o"),
    "cheap": ("tab:green", "^"),
    "parity-sum": ("tab:purple", "v"),
    "parity-concat": ("tab:pink", "<"),
    "learned": ("tab:gray", ">"),
}
Rows = Sequence[Mapping[str, Any]]


def plot_frontier(rows: Rows, path: Path) -> None:
    """A_d against the cost of a protected image, counted and measured; every model is a point, marked with its n."""
    figure, panels = _figure(2, (11, 4.6))
    measures = (("macs_ratio", "multiply-accumulates"), ("latency_ratio", "measured time, one thread"))
    for axes, (measure, title) in zip(panels, measures, strict=True):
        for code, models in _by_code(rows).items():
            points = [row for row in models if row[measure] is not None]
            colour, marker = _STYLES.get(code, ("black", "x"))
            costs = [row[measure] / row["n"] for row in points]
            axes.scatter(costs, [row["a_d"] for row in points], color=colour, marker=marker, label=code, zorder=3)
            for cost, row in zip(costs, points, strict=True):
                axes.annotate(str(row["n"]), (cost, row["a_d"]), xytext=(5, 3), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", xlabel="cost of a protected image, calls of the single", title=title)
        axes.xaxis.set_major_locator(_ticks())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        _finish(axes, rows)
    panels[0].set_ylabel("accuracy of backup answers")
    _legend(figure, panels[0])
    figure.savefig(path, dpi=110)


def plot_by_n(rows: Rows, path: Path) -> None:
    """A_d against N, the images that one call protects: each code's best model, with its spread over seeds."""
    figure, panels = _figure(1, (7, 4.6))
    axes = panels[0]
    for code, points in _by_code(rows).items():
        best = {row["n"]: row for row in sorted(points, key=lambda row: float(row["a_d"]))}  # the last, best, one stays
        ordered = [best[n] for n in sorted(best)]
        colour, marker = _STYLES.get(code, ("black", "x"))
        axes.errorbar(
            [row["n"] for row in ordered],
            [row["a_d"] for row in ordered],
            yerr=[row["a_d_std"] or 0.0 for row in ordered],
            color=colour, marker=marker, capsize=3, label=code,
        )  # fmt: skip
    sizes = sorted({row["n"] for row in rows})
    axes.set(xscale="log", xlabel="N, images that one call protects", ylabel="accuracy of backup answers")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    _finish(axes, rows)
    _legend(figure, axes)
    figure.savefig(path, dpi=110)


def _by_code(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Backups by code, in the order of the styles."""
    codes = sorted({row["code"] for row in rows if row["a_d"] is not None}, key=[*_STYLES, ""].index)
    return {code: [row for row in rows if row["code"] == code] for code in codes}


def _finish(axes: Any, rows: Rows) -> None:
    axes.axhline(rows[0]["a_a"], color="black", linestyle=":", label="the single")
    axes.yaxis.set_major_formatter("{x:.2%}")
    axes.grid(alpha=0.25)


def _ticks() -> Any:
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - as below

    return LogLocator(subs=(1, 2, 5))


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)


def _figure(columns: int, size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no global state, no display

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False, sharey=True)[0])
