"""Numbers and lists as they stand in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from collage.bench.simulated import Named, SimulatedRow, axis_name, value_name


def ms(seconds: float) -> str:
    """Milliseconds, three digits or so."""
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 99.5 else f"{value:.1f} ms"


def ms_range(found: Iterable[float]) -> str:
    """A range of seconds in milliseconds."""
    return _range([ms(each) for each in _ends(found)]).replace(" ms to", " to", 1)


def percent(share: float) -> str:
    """A share in per cent; below 10% with a decimal."""
    return f"{share:.0%}" if abs(share) >= 0.0995 or share == 0 else f"{share:.1%}"


def percent_range(found: Iterable[float]) -> str:
    """A range of shares in per cent."""
    return _range([percent(each) for each in _ends(found)])


def times_range(found: Iterable[float]) -> str:
    """A range of ratios."""
    return _range([f"{each:.1f}" for each in _ends(found)]) + " times"


def points_range(found: Iterable[float]) -> str:
    """A range of differences in accuracy, in percentage points."""
    return _range([f"{each * 100:+.2f}" for each in _ends(found)]) + " points"


def _ends(found: Iterable[float]) -> list[float]:
    values = sorted(found)
    return [values[0], values[-1]]


def _range(ends: Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def listed(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def where(cells: Sequence[Named], everywhere: Sequence[Named]) -> str:
    """Some of an experiment's cells in words: by each axis's values, where they do not take all of them."""
    chosen, known = list(dict.fromkeys(cells)), list(dict.fromkeys(everywhere))
    if len(chosen) == len(known):
        return "everywhere" if len(known) > 1 else "here"
    said = []
    for axis, values in _by_axis(chosen).items():
        every = _by_axis(known)[axis]
        if len(values) < len(every):
            said.append(f"{axis_name(axis)} {_values(axis, values, every)}")
    count = f"in {len(chosen)} of {len(known)} settings"
    return f"{count} ({', '.join(said)})" if len(chosen) > 1 and said else f"at {', '.join(said)}" if said else count


def _by_axis(cells: Sequence[Named]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for cell in cells:
        for axis, value in cell:
            if value not in found.setdefault(axis, []):
                found[axis].append(value)
    return found


def _values(axis: str, values: Sequence[Any], every: Sequence[Any]) -> str:
    """Neighbours as a range, others as a list."""
    at = [every.index(value) for value in values]
    words = [value_name(axis, value) for value in values]
    if len(words) > 2 and sorted(at) == list(range(min(at), max(at) + 1)):
        return f"{words[0]} to {words[-1]}"
    return listed(words)


def settings(values: Named) -> str:
    """What a cell or some knobs are set to."""
    return ", ".join(f"{axis_name(name)} {value_name(name, value)}" for name, value in values)


def brief(row: SimulatedRow) -> str:
    """A policy with its three figures."""
    accuracy = points_range([row.metrics["accuracy_change"].value])
    return f"{row.label} ({ms(row.p99)}, {percent(row.extra_work)} extra work, accuracy {accuracy})"
