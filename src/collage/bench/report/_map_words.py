"""What a map says: where each policy is right, by how much, and what that means for someone who must decide."""

from __future__ import annotations

from collections.abc import Sequence

from collage.bench.report._numbers import listed, percent, percent_range, times_range
from collage.bench.simulated import Choice, MapRule, SimulatedRow, axis_name, choices, value_name


def say_map(rows: Sequence[SimulatedRow], rule: MapRule) -> list[str]:
    """The rule, and a sentence for each policy that is right somewhere, the most frequent first."""
    found = choices(rows, rule)
    cells = len({row.cell for row in rows})
    said = [
        f"A policy is called right where it has the lowest p99 of those with at most {percent(rule.most_extra_work)}"
        f" extra work and an accuracy not measurably more than {rule.accuracy_loss * 100:g} points below the single's;"
        f" of those within {percent(rule.level)} of that p99, it is the one that spends least. In a square: the policy,"
        " and how many times lower p99 is than without backups."
    ]
    said += [_about(label, own, found, cells) for label, own in ranked(found)]
    if len(found) < cells:
        said.append(f"In {cells - len(found)} of {cells} settings no policy is within these bounds.")
    return said


def ranked(found: Sequence[Choice]) -> list[tuple[str, list[Choice]]]:
    """The cells of each policy that is right somewhere; the most frequent first."""
    by: dict[str, list[Choice]] = {}
    for choice in found:
        by.setdefault(choice.right.label, []).append(choice)
    return sorted(by.items(), key=lambda item: -len(item[1]))


def _about(label: str, own: Sequence[Choice], found: Sequence[Choice], cells: int) -> str:
    said = f"**{label}** is right in {len(own)} of {cells} settings"
    if habits := habit(own, found):
        said += f": {habits}"
    gains = [choice.gain for choice in own if choice.gain is not None and choice.right.code != "none"]
    if gains:
        said += f". There p99 is {times_range(gains)} lower than without backups"
        said += f", for {percent_range(choice.right.extra_work for choice in own)} extra work"
    leads = [choice for choice in own if choice.lead is not None and choice.right.code != "none"]
    clear = [choice.lead for choice in leads if choice.lead is not None and choice.lead > 1.05]
    if clear:
        rivals = listed(sorted({choice.next.label for choice in leads if choice.next is not None}))
        said += f". The next best ({rivals}) is {times_range(clear)} slower in {len(clear)} of them"
    return said + "."


def habit(own: Sequence[Choice], found: Sequence[Choice]) -> str:
    """On which values of each axis a policy is right more often than not, where that is not all of them."""
    said = []
    for axis in dict(own[0].cell):
        every = list(dict.fromkeys(dict(choice.cell)[axis] for choice in found))
        mostly = []
        for value in every:
            here = sum(dict(choice.cell)[axis] == value for choice in found)
            mine = sum(dict(choice.cell)[axis] == value for choice in own)
            if mine * 2 > here:
                mostly.append(value)
        if mostly and len(mostly) < len(every):
            words = [value_name(axis, value) for value in mostly]
            said.append(f"mostly at {axis_name(axis)} {listed(words)}")
    return "; ".join(said)
