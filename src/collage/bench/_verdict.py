"""What a table says, in words: where the default policy leads, and where it does not, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from collage.bench._summary import Row

STRAGGLERS = {"iid": "independent service times", "episodes": "slow episodes"}

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
    cell = f"{STRAGGLERS[ours.straggler].capitalize()}, load {ours.load:g}"
    rivals = [row for row in rows if (row.straggler, row.load) == (ours.straggler, ours.load) and row is not ours]
    faster = sorted((row for row in rivals if row.p99 < ours.p99), key=lambda row: row.p99)
    beaten_fairly = [row for row in fair_rivals(ours, rows) if row.p99 < ours.p99]
    own = f"`{ours.policy}` p99 {ours.p99 * 1000:.1f} ms at {ours.extra_work:.0%} extra work, A_o {ours.a_o:.1%}"
    if not faster:
        following = min(rivals, key=lambda row: row.p99, default=None)
        return f"{cell}: {own}: the lowest p99 of all" + (f"; next {_brief(following)}." if following else ".")
    best = ", ".join(map(_brief, faster))
    if beaten_fairly:
        names = ", ".join(f"`{row.policy}`" for row in beaten_fairly)
        return f"{cell}: {own} does not lead: {names} is better at no more extra work and no lower A_o. Faster: {best}."
    leads = "leads among policies of no more extra work and no lower A_o"
    return f"{cell}: {own}: {leads}. Faster, but dearer or less accurate: {best}."


def _brief(row: Row) -> str:
    return f"`{row.policy}` ({row.p99 * 1000:.1f} ms at {row.extra_work:.0%}, A_o {row.a_o:.1%})"
