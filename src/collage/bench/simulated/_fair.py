"""Who wins, fairly: a win is claimed only against policies that spend no more and are no less accurate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collage.bench.simulated._row import SimulatedRow
from collage.bench.simulated._tune import WORK_SLACK

# A_o that differ by less are called equal: both are measured.
ACCURACY_SLACK = 0.001
_ONE_SEED = 0.1


class Comparison(NamedTuple):
    """One row of ours against the other policies of its cell. Fair: no more extra work, no lower A_o."""

    ours: SimulatedRow
    beats: list[SimulatedRow]  # fair, and p99 is higher
    level: list[SimulatedRow]  # fair, and the intervals of p99 touch
    beaten_by: list[SimulatedRow]  # fair, and p99 is lower
    dearer: list[SimulatedRow]  # p99 is lower, at more extra work or a lower A_o


def compare_rows(ours: SimulatedRow, rows: Sequence[SimulatedRow]) -> Comparison:
    """Compare a row with the kept rows of its cell that have another label. Yardsticks are no rivals."""
    rivals = [
        row for row in rows if row.kept and row.cell == ours.cell and row.label != ours.label and not row.yardstick
    ]
    fair = [row for row in rivals if is_fair(ours, row)]
    return Comparison(
        ours,
        beats=[row for row in fair if _below(ours, row)],
        level=[row for row in fair if not _below(ours, row) and not _below(row, ours)],
        beaten_by=[row for row in fair if _below(row, ours)],
        dearer=[row for row in rivals if row not in fair and not row.overloaded and _below(row, ours)],
    )


def is_fair(ours: SimulatedRow, rival: SimulatedRow) -> bool:
    """Whether the rival spends no more, and its answers are no less accurate."""
    return (
        rival.extra_work <= ours.extra_work + WORK_SLACK
        and rival.metrics["accuracy_change"].value >= ours.metrics["accuracy_change"].value - ACCURACY_SLACK
    )


def _below(one: SimulatedRow, other: SimulatedRow) -> bool:
    """Whether one's p99 is lower, beyond both intervals; with one seed, which has none, by a tenth."""
    if len(one.seeds) == 1 or len(other.seeds) == 1:
        return one.p99 < other.p99 * (1 - _ONE_SEED)
    return one.metrics[one.compared].high < other.metrics[other.compared].low
