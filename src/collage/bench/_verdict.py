"""What a table says, in words: where the default policy leads, and where it does not, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from collage.bench._summary import Row

STRAGGLERS = {
    "iid": "independent service times",
    "episodes": "slow episodes",
    "stopped": "stopped processes",
    "hogged": "processes beside busy ones",
    "delayed": "slow links",
}

# Extra work and accuracy that differ by less are called equal: both are measured.
_WORK_SLACK = 0.005
_ACCURACY_SLACK = 0.001


def fair_rivals(ours: Row, rows: Sequence[Row]) -> list[Row]:
    """Rows of the same cell with no more extra work and no lower A_o: only against these can a win be claimed."""
    return [
        row
        for row in rows
        if (row.straggler, row.load) == (ours.straggler, ours.load)
        and row.policy != ours.policy
        and row.extra_work <= ours.extra_work + _WORK_SLACK
        and row.a_o >= ours.a_o - _ACCURACY_SLACK
    ]


def verdicts(rows: Sequence[Row]) -> list[str]:
    """One sentence for each cell that has the default policy in it."""
    return [_verdict(row, rows) for row in rows if row.default]


def _verdict(ours: Row, rows: Sequence[Row]) -> str:
    cell = [row for row in rows if (row.straggler, row.load) == (ours.straggler, ours.load) and row is not ours]
    fair = fair_rivals(ours, rows)
    dearer = [row for row in cell if row not in fair]
    said = [
        _list("it beats", [row for row in fair if ours.p99_high < row.p99_low]),
        _list("it cannot be told from", [row for row in fair if _overlap(ours, row)]),
        _list("it is beaten by", [row for row in fair if row.p99_high < ours.p99_low]),
    ]
    among = "; ".join(part for part in said if part) or "it has no rival"
    faster = _list("Faster at more extra work or a lower A_o:", [row for row in dearer if row.p99_high < ours.p99_low])
    even = _list("As fast at more extra work or a lower A_o:", [row for row in dearer if _overlap(ours, row)])
    return (
        f"{STRAGGLERS[ours.straggler].capitalize()}, load {ours.load:g}: {_brief(ours)}. Among policies with no more"
        f" extra work and no lower A_o, {among}.{f' {faster}.' if faster else ''}{f' {even}.' if even else ''}"
    )


def _overlap(ours: Row, theirs: Row) -> bool:
    """Whether the intervals of the two p99 touch: then neither is called lower."""
    return ours.p99_low <= theirs.p99_high and theirs.p99_low <= ours.p99_high


def _list(words: str, rows: Sequence[Row]) -> str:
    return f"{words} " + ", ".join(map(_brief, sorted(rows, key=lambda row: row.p99))) if rows else ""


def _brief(row: Row) -> str:
    return f"`{row.policy}` (p99 {row.p99 * 1000:.1f} ms, extra work {row.extra_work:.0%}, A_o {row.a_o:.1%})"
