"""The report of an overhead experiment: the measured times, the lines, a picture, and a table in words."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from collage.bench._machine import describe_machine
from collage.bench._overhead import CallTime, OverheadResult, OverheadSettings, break_even, sweep
from collage.dispatch import Role

_SHOWN = (0.0, 0.001, 0.005, 0.02)  # overheads that have a column, seconds
_COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink")
_WHEN = {
    Role.SINGLE: "A backup must be as accurate as the single, and few queries are late.",
    Role.CHEAP: "Few queries are late at once: a call is paid for each, and no other has to wait or to be there.",
    Role.BATCH: "Many are late at once, and the server takes several images in a call; a group that is not full costs"
    " less.",
    Role.COLLAGE: "Many are late at once, and the server takes one image a call, or has one input of a fixed size.",
}


def write_overhead(settings: OverheadSettings, result: OverheadResult, folder: Path, *, command: str) -> list[Path]:
    """Write times.csv, cost.csv, cost.png, table.md and conditions.json into `folder`; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    full = result.full()
    times = [
        (call.model.card.name, call.model.card.code, call.fill, *(_ms(x) for x in (call.low, call.median, call.high)))
        for call in result.calls
    ]
    _write(folder / "times.csv", ("model", "code", "fill", "low_ms", "median_ms", "high_ms"), times)
    lines = [
        (_ms(overhead), call.model.card.name, call.model.card.code, call.fill, _ms(_each(call, overhead)))
        for overhead in sweep(settings.most)
        for call in full
    ]
    _write(folder / "cost.csv", ("overhead_ms", "model", "code", "n", "ms_per_query"), lines)
    _plot(settings, result, folder / "cost.png")
    (folder / "table.md").write_text(overhead_table(result) + "\n")
    conditions = {
        "command": command,
        "machine": describe_machine(),
        "experiment": settings.model_dump(mode="json"),
        "models": {call.model.card.name: call.model.card.sha256 for call in full},
        "local_engine_ms": _ms(result.engine),
    }
    (folder / "conditions.json").write_text(json.dumps(conditions, indent=2) + "\n")
    return [folder / name for name in ("times.csv", "cost.csv", "cost.png", "table.md", "conditions.json")]


def overhead_table(result: OverheadResult) -> str:
    """Markdown: what each code costs, how accurate it is, when it is right, and where its cost meets another's."""
    head = ["model", "code", "n", "accuracy", "call, ms", *(f"ms a query at +{_ms(x):g} ms" for x in _SHOWN)]
    rows = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for call in result.full():
        card = call.model.card
        accuracy = f"{card.accuracy.accuracy:.2%}" if card.accuracy else "?"
        costs = [f"{_ms(_each(call, overhead)):.3f}" for overhead in _SHOWN]
        rows.append([card.name, card.code, str(call.fill), accuracy, f"{_ms(call.median):.3f}", *costs])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines += [
        "",
        "Costs are worker time for each query of a full call, with a fixed overhead added to every call; accuracy is"
        f" as the model's card says. A call costs the local engine {_ms(result.engine):.2f} ms beside the worker's own"
        " time.",
        "",
        *(f"- {text}" for text in _crossings(result)),
        "",
        "| code | it is right when |",
        "| --- | --- |",
    ]
    roles = {call.model.card.role: call.model.card.code for call in result.full()}
    lines += [f"| {'replica' if role is Role.SINGLE else role.value} | {_WHEN[role]} |" for role in roles]
    return "\n".join(lines)


def _crossings(result: OverheadResult) -> Iterable[str]:
    """Where a code that answers several queries in a call is cheaper than one that answers them one by one."""
    full = result.full()
    for call in full:
        if call.fill == 1:
            continue
        for other in full:
            if other.fill > 1:
                continue
            name, theirs = call.model.card.name, other.model.card.name
            overhead = break_even(call, other)
            if overhead is None:
                yield f"{name} never costs less for each query than {theirs}."
                continue
            start = "at any overhead" if overhead <= 0 else f"from an overhead of {_ms(overhead):.2f} ms a call on"
            least = [_least_wanted(result, call, other, beside) for beside in (result.engine, 0.005, 0.02)]
            yield (
                f"{name}, full, costs less than separate calls of {theirs} {start}. With the local engine's overhead,"
                f" 5 ms and 20 ms it does so if at least {', '.join(least[:2])} and {least[2]} of its {call.fill}"
                " queries are wanted."
            )


def _least_wanted(result: OverheadResult, call: CallTime, other: CallTime, overhead: float) -> str:
    for wanted in range(1, call.fill + 1):
        if result.of(call.model, wanted).cost(overhead, wanted) < other.cost(overhead, wanted):
            return str(wanted)
    return "more than all"


def _plot(settings: OverheadSettings, result: OverheadResult, path: Path) -> None:
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    lines, near, far = figure.subplots(1, 3)
    full = result.full()
    for call, colour in zip(full, _cycle(len(full)), strict=True):
        overheads = sweep(settings.most)
        label = f"{call.model.card.name}, n = {call.fill}"
        lines.plot([_ms(x) for x in overheads], [_ms(_each(call, x)) for x in overheads], color=colour, label=label)
    lines.axvline(_ms(result.engine), color="0.6", linestyle=":", linewidth=1)
    lines.set(xlabel="fixed overhead of a call, ms", ylabel="worker time a query, ms", yscale="log")
    lines.set_title("full calls (dotted: the local engine)")
    for axes, overhead in ((near, result.engine), (far, settings.most)):
        _plot_wanted(axes, result, overhead)
    for axes in (lines, near, far):
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.25)
    handles, labels = lines.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def _plot_wanted(axes: Axes, result: OverheadResult, overhead: float) -> None:
    full = result.full()
    largest = max(call.fill for call in full)
    wanted = list(range(1, largest + 1))
    for call, colour in zip(full, _cycle(len(full)), strict=True):
        costs = [_ms(result.of(call.model, m).cost(overhead, m)) for m in wanted]
        axes.plot(wanted, costs, color=colour, marker=".")
    axes.set(xlabel="queries wanted at once", ylabel="worker time in all, ms", yscale="log")
    axes.set_title(f"overhead of a call: {_ms(overhead):.2f} ms")
    axes.set_xticks(wanted if largest <= 9 else wanted[::3])


def _cycle(count: int) -> list[str]:
    """The single is black; backups have colours."""
    return ["black", *(_COLOURS[index % len(_COLOURS)] for index in range(count - 1))]


def _each(call: CallTime, overhead: float) -> float:
    return (call.median + overhead) / call.fill


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 4)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
