"""One look a policy in every figure: colour, line and marker, so that no policy is told by its colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes

from collage.bench.simulated import Experiment, PolicyEntry, SimulatedRow, axis_name, value_name

# Colours that are told apart with every common kind of colour blindness (Okabe and Ito, 2008), and grey.
_GREY, _BLACK = "#808080", "#000000"
_COLOURS = {
    "none": _GREY,
    "equal": _GREY,
    "replicate": "#cc79a7",
    "hedge": "#0072b2",
    "cheap": "#009e73",
    "batch": "#56b4e9",
    "parity": "#e69f00",
    "learned": "#8c6d31",
    "collage": "#d55e00",
    "collage-dedicated": "#d55e00",
    "late-collage": "#d55e00",
    "auto": "#7a5bc7",
}
_MARKERS = {
    "none": "x",
    "replicate": "s",
    "hedge": "^",
    "cheap": "D",
    "parity": "v",
    "learned": "P",
    "batch": "p",
    "auto": "*",
}
_MORE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)))

# Text stays text (small files, and a reader's own font), and the same rows give the same file.
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "collage",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
}


class Look(NamedTuple):
    """How a policy is drawn."""

    colour: str
    line: Any
    marker: str


def looks(experiment: Experiment) -> dict[str, Look]:
    """The look of each label. Labels of one preset share its colour, and differ in line and marker."""
    found: dict[str, Look] = {}
    seen: dict[str, int] = {}
    for entry in experiment.policies:
        if entry.name in found:
            continue
        colour = _colour(entry)
        count = seen.get(colour, 0)
        seen[colour] = count + 1
        marker = _MARKERS.get(entry.preset, "o") if count == 0 else _MORE_MARKERS[count % len(_MORE_MARKERS)]
        found[entry.name] = Look(colour, _LINES[count % len(_LINES)], marker)
    return found


def _colour(entry: PolicyEntry) -> str:
    return _GREY if entry.scenario.get("no_stragglers") else _COLOURS.get(entry.preset, _BLACK)


def style() -> Any:
    """The figures' common style, as a context."""
    return mpl.rc_context(STYLE)


def panel_values(experiment: Experiment, rows: Sequence[SimulatedRow]) -> list[Any]:
    """The values that have a panel, in the axis's order; one panel without a value where the figure has none."""
    axis = experiment.figure.panels
    return [None] if axis is None else list(dict.fromkeys(dict(row.cell)[axis] for row in rows))


def in_panel(experiment: Experiment, rows: Sequence[SimulatedRow], value: Any) -> list[SimulatedRow]:
    """The rows of one panel."""
    axis = experiment.figure.panels
    return [row for row in rows if axis is None or dict(row.cell)[axis] == value]


def panel_title(experiment: Experiment, value: Any) -> str:
    """What a panel is of. Names of values that are words stand for themselves."""
    axis = experiment.figure.panels
    if axis is None:
        return ""
    return str(value) if isinstance(value, str) else f"{axis_name(axis)} {value_name(axis, value)}"


def x_label(experiment: Experiment) -> str:
    """What the x axis is of."""
    return experiment.figure.x_label or axis_name(str(experiment.figure.x))


def legend(figure: Any, axes: Sequence[Axes]) -> None:
    """One legend below all panels."""
    known: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    columns = min(len(known), max(2, int(figure.get_figwidth() / 1.6)))
    figure.legend(list(known.values()), list(known), loc="outside lower center", ncols=columns)


def shown(metric: str, value: float) -> float:
    """A metric as it is drawn: times in milliseconds, accuracy in points."""
    if metric in UNSCALED:
        return value
    return value * 100 if metric in POINTS else value * 1000


POINTS = frozenset({"accuracy_change", "accuracy_to_ours"})
UNSCALED = frozenset({"extra_work", "degraded_share", "tiles_per_backup", "utilisation", "energy_per_1000"})
