"""What a figure says, in plain sentences made of its numbers, rivals' wins included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collage.bench.report._map_words import say_map
from collage.bench.report._numbers import (
    brief,
    listed,
    ms,
    ms_range,
    percent,
    percent_range,
    points_range,
    settings,
    times_range,
    where,
)
from collage.bench.simulated import Comparison, Estimate, Experiment, Named, SimulatedRow, compare_rows


def say(experiment: Experiment, rows: Sequence[SimulatedRow]) -> list[str]:
    """Sentences about an experiment's kept rows. With no policy of ours, each policy's range is given."""
    kept = [row for row in rows if row.kept]
    if experiment.figure.kind == "map":
        return say_map(kept, experiment.map)
    if experiment.figure.kind == "frontier":
        return say_frontier(kept)
    ours = [row for row in kept if row.ours]
    cells = list(dict.fromkeys(row.cell for row in kept))
    if not ours:
        return [_ranges(kept), *_beyond(kept, cells)]
    swept = any(experiment.policies[row.entry].sweep for row in ours)
    parts = [_sweep(ours, cells) if swept else _headline(kept, ours), _accuracy(ours)]
    parts += _rivals([compare_rows(row, kept) for row in ours], cells, swept=swept)
    parts += _more_or_less_right(kept, ours[0].label)
    parts += _yardsticks(kept, ours)
    parts += _beyond(kept, cells)
    return [part for part in parts if part]


def _unit(row: SimulatedRow) -> str:
    return "round" if row.metric == "round" else "answer"


def _headline(rows: Sequence[SimulatedRow], ours: Sequence[SimulatedRow]) -> str:
    none = {row.cell: row for row in rows if row.code == "none" and not row.yardstick}
    label, unit = ours[0].label, _unit(ours[0])
    said = f"With {label}, one {unit} in a hundred takes longer than {ms_range(row.p99 for row in ours)}"
    pairs = [(row, none[row.cell]) for row in ours if row.cell in none]
    if pairs:
        ratios = [theirs.p99 / own.p99 for own, theirs in pairs]
        less = f"{times_range(ratios)} lower" if min(ratios) >= 1 else f"a ratio of {times_range(ratios)}"
        said += f"; without backups, longer than {ms_range(theirs.p99 for _, theirs in pairs)} ({less})"
    return f"{said}. The price: {percent_range(row.extra_work for row in ours)} extra work."


def _accuracy(ours: Sequence[SimulatedRow]) -> str:
    changes = points_range(row.metrics["accuracy_change"].value for row in ours)
    shares = percent_range(row.metrics["degraded_share"].value for row in ours)
    return f"A backup of another model gives {shares} of the answers, and that changes how many are right by {changes}."


def _more_or_less_right(rows: Sequence[SimulatedRow], ours: str) -> list[str]:
    """Policies whose answers to the same queries are measurably more or less often right, in some cell."""
    found: dict[str, list[Estimate]] = {}
    for row in rows:
        change = row.metrics.get("accuracy_to_ours")
        if change is not None and row.label != ours and not change.low <= 0 <= change.high:
            found.setdefault(row.label, []).append(change)
    if not found:
        return []
    named = listed([f"{label} (by {points_range(each.value for each in own)})" for label, own in found.items()])
    return [f"On the same queries, measurably more (+) or less (-) often right than {ours}: {named}."]


def _sweep(ours: Sequence[SimulatedRow], cells: Sequence[Named]) -> str:
    """Where the best value of a knob is, and what turning it does."""
    said = []
    for cell in cells:
        own = [row for row in ours if row.cell == cell and not row.overloaded]
        if not own:
            continue
        best = min(own, key=lambda row: row.p99)
        at = f"At {settings(cell)}" if cell else f"With {best.label}"
        said.append(
            f"{at} p99 is {ms_range(row.p99 for row in own)}, at {percent_range(row.extra_work for row in own)} extra"
            f" work; it is lowest at {settings(best.knobs)}."
        )
    return " ".join([f"The knob of {ours[0].label} was turned.", *said]) if said else ""


def _rivals(found: Sequence[Comparison], cells: Sequence[Named], *, swept: bool) -> list[str]:
    """Against whom it wins, cannot be told from, and loses; and who is faster at a higher price."""
    label = found[0].ours.label
    rivals = any(each.beats or each.level or each.beaten_by for each in found)
    said = []
    if rivals:
        lists: list[tuple[str, Callable[[Comparison], list[SimulatedRow]]]] = [
            (f"{label} is faster than", lambda each: each.beats),
            ("it cannot be told from", lambda each: each.level),
            ("**it is slower than**", lambda each: each.beaten_by),
        ]
        parts = []
        for words, pick in lists:
            named = _by_label(found, pick)
            if named:
                parts.append(f"{words} {listed([_placed(own, cells, swept=swept) for own in named])}")
        said.append(f"Among policies that spend no more and are as accurate, {'; '.join(parts)}.")
    else:
        said.append("No other policy here spends as little and is as accurate.")
    dearer = _by_label(found, lambda each: each.dearer)
    if dearer:
        said.append(
            "Faster, at more extra work or less accurate: "
            f"{listed([_placed(own, cells, swept=swept) for own in dearer])}."
        )
    return said


def _by_label(
    found: Sequence[Comparison], pick: Callable[[Comparison], list[SimulatedRow]]
) -> list[list[tuple[SimulatedRow, SimulatedRow]]]:
    """The rivals of a list by label, each with the row of ours that it was compared with."""
    by: dict[str, list[tuple[SimulatedRow, SimulatedRow]]] = {}
    for each in found:
        for rival in pick(each):
            by.setdefault(rival.label, []).append((each.ours, rival))
    return list(by.values())


def _placed(pairs: Sequence[tuple[SimulatedRow, SimulatedRow]], cells: Sequence[Named], *, swept: bool) -> str:
    """A rival, where, and at the place where the two differ most: both figures."""
    ours, rival = max(pairs, key=lambda pair: abs(pair[0].p99 - pair[1].p99) / min(pair[0].p99, pair[1].p99))
    place = where([own.cell for own, _ in pairs], cells)
    knob = f"{settings(ours.knobs)}, " if swept and ours.knobs else ""
    most = "at the widest " if len(pairs) > 1 else ""
    return f"{_priced(rival)} {place} ({most}{knob}{ms(rival.p99)} against {ms(ours.p99)})"


def _priced(row: SimulatedRow) -> str:
    """A policy with what it spends."""
    return f"{row.label} [{percent(row.extra_work)}]"


def _ranges(rows: Sequence[SimulatedRow]) -> str:
    said = []
    for label in dict.fromkeys(row.label for row in rows):
        own = [row for row in rows if row.label == label and not row.overloaded]
        if own:
            works = percent_range(row.extra_work for row in own)
            said.append(f"{label} {ms_range(row.p99 for row in own)} ({works} extra work)")
    unit = _unit(rows[0]) if rows else "answer"
    return f"One {unit} in a hundred takes longer than: {'; '.join(said)}."


def _yardsticks(rows: Sequence[SimulatedRow], ours: Sequence[SimulatedRow]) -> list[str]:
    """How near ours is to what no policy can do."""
    said = []
    mine = {row.cell: row for row in ours}
    for label in dict.fromkeys(row.label for row in rows if row.yardstick):
        own = [row for row in rows if row.label == label and row.cell in mine and not row.overloaded]
        if own:
            ratios = [mine[row.cell].p99 / row.p99 for row in own]
            said.append(
                f"For comparison, {label} would have a p99 of {ms_range(row.p99 for row in own)};"
                f" {ours[0].label}'s is {times_range(ratios)} that."
            )
    return said


def _beyond(rows: Sequence[SimulatedRow], cells: Sequence[Named]) -> list[str]:
    over: dict[str, list[Named]] = {}
    for row in rows:
        if row.overloaded:
            over.setdefault(row.label, []).append(row.cell)
    if not over:
        return []
    named = listed([f"{label} {where(own, cells)}" for label, own in over.items()])
    return [f"Overloaded, so that the queue grows as long as the load lasts: {named}."]


def say_frontier(rows: Sequence[SimulatedRow]) -> list[str]:
    """Which policies are on the frontier of p99 against extra work, cell by cell."""
    said = []
    for cell in dict.fromkeys(row.cell for row in rows):
        own = [row for row in rows if row.kept and row.cell == cell and not row.overloaded and not row.yardstick]
        # With ever more extra work allowed, who is fastest?
        front: list[SimulatedRow] = []
        for row in sorted(own, key=lambda row: (row.extra_work, row.p99)):
            if not front or row.p99 < front[-1].p99 * 0.98:
                front.append(row)
        steps = [brief(row) for row in _thinned(front)]
        said.append(f"{settings(cell).capitalize() or 'Here'}: {', then '.join(steps)}.")
    return ["Who is fastest, the more extra work one allows.", *said, *_beyond(rows, [r.cell for r in rows])]


def _thinned(front: Sequence[SimulatedRow]) -> list[SimulatedRow]:
    """The first of each run of one label, and the last of all."""
    kept = [row for number, row in enumerate(front) if number == 0 or row.label != front[number - 1].label]
    return kept if not front or front[-1] in kept else [*kept, front[-1]]
