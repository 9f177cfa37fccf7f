"""The picture of a bench: how many requests take longer than t, per policy, a panel per load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collage.bench._journal import TurnResult
from collage.bench._settings import BenchSettings, Straggler
from collage.bench._summary import Row
from collage.bench._verdict import STRAGGLERS

# One look a policy in every figure; the collage's are the strong colours.
_STYLES: dict[str, tuple[str, str]] = {
    "none": ("0.55", "-"),
    "equal": ("0.55", ":"),
    "replicate": ("tab:purple", "-"),
    "hedge": ("tab:blue", "-"),
    "cheap": ("tab:green", "-"),
    "batch": ("tab:pink", "-"),
    "parity": ("tab:cyan", "-"),
    "learned": ("tab:olive", "-"),
    "collage": ("tab:red", "-"),
    "collage-dedicated": ("tab:orange", "--"),
}


def plot_latencies(settings: BenchSettings, results: Sequence[TurnResult], table: Sequence[Row], path: Path) -> None:
    """Write the picture: a row per kind of straggler, a column per load, log share of requests that take longer."""
    rows, columns = len(settings.stragglers), len(settings.loads)
    overloaded = {(row.straggler, row.load, row.policy) for row in table if row.overloaded}
    figure = Figure(figsize=(3.9 * columns + 0.6, 3.1 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for row, straggler in enumerate(settings.stragglers):
        for column, load in enumerate(settings.loads):
            beyond = [policy for policy in settings.policies if (straggler, load, policy) in overloaded]
            _panel(panels[row][column], settings, results, (straggler, load), beyond)
    for panel in panels[:, 0]:
        panel.set_ylabel("share of requests that take longer")
    for panel in panels[-1]:
        panel.set_xlabel("latency, ms")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)


def _panel(
    axes: Axes,
    settings: BenchSettings,
    results: Sequence[TurnResult],
    cell: tuple[Straggler, float],
    overloaded: Sequence[str],
) -> None:
    widest = 0.0
    for policy in settings.policies:
        found = [r.latencies for r in results if r.turn.cell == cell and r.turn.policy == policy]
        if not found:
            continue
        ordered = np.sort(np.concatenate(found)) * 1000
        longer = 1.0 - np.arange(1, len(ordered) + 1) / len(ordered)  # (n,) share that takes longer than ordered[i]
        colour, line = _STYLES.get(policy, ("black", "-."))
        axes.step(ordered, longer, where="post", label=policy, color=colour, linestyle=line, linewidth=1.4)
        if policy not in overloaded:  # what tells the length of a turn must not squeeze the others
            widest = max(widest, float(np.quantile(ordered, 0.9995)))
    axes.set(yscale="log", ylim=(3e-4, 1.1), title=f"{STRAGGLERS[cell[0]]}, load {cell[1]:g}")
    if widest:
        axes.set_xlim(0, widest * 1.05)
    if overloaded:
        said = f"overloaded: {', '.join(overloaded)}"
        axes.text(0.98, 0.9, said, transform=axes.transAxes, ha="right", va="top", fontsize=8, color="0.3")
    axes.axhline(0.01, color="0.85", linewidth=0.8, zorder=0)
    axes.grid(alpha=0.25)
