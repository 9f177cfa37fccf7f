"""Which policy is right where: what a map shows, and what the report opens with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collage.bench.simulated._expand import Named
from collage.bench.simulated._row import SimulatedRow
from collage.bench.simulated._settings import MapRule
from collage.bench.simulated._tune import WORK_SLACK


class Choice(NamedTuple):
    """The right policy of one cell."""

    cell: Named
    right: SimulatedRow
    next: SimulatedRow | None  # the next best of another label; None where no other was within the bounds
    none: SimulatedRow | None  # without backups
    fastest: SimulatedRow  # the lowest p99 within the bounds: `right`, or one that is as fast and spends more

    @property
    def gain(self) -> float | None:
        """How many times lower p99 is than without backups."""
        return self.none.p99 / self.right.p99 if self.none else None

    @property
    def lead(self) -> float | None:
        """How many times lower p99 is than the next policy's; at most a little below 1: then that one spends more."""
        return self.next.p99 / self.right.p99 if self.next else None


def choices(rows: Sequence[SimulatedRow], rule: MapRule) -> list[Choice]:
    """The right policy of each cell, by the rule; kept rows only.

    A cell where every policy is beyond the bounds, and none is without backups, has no choice.
    """
    cells: dict[Named, list[SimulatedRow]] = {}
    for row in rows:
        if row.kept:
            cells.setdefault(row.cell, []).append(row)
    return [found for cell, own in cells.items() if (found := _choice(cell, own, rule)) is not None]


def _choice(cell: Named, rows: Sequence[SimulatedRow], rule: MapRule) -> Choice | None:
    none = next((row for row in rows if row.code == "none"), None)
    within = [row for row in rows if row is none or _within(row, rule)]
    if not within:
        return None
    fastest = min(within, key=lambda row: row.p99)
    level = [row for row in within if row.p99 <= fastest.p99 * (1 + rule.level)]
    right = min(level, key=lambda row: row.extra_work)
    others = [row for row in within if row.label != right.label]
    return Choice(cell, right, min(others, key=lambda row: row.p99, default=None), none, fastest)


def _within(row: SimulatedRow, rule: MapRule) -> bool:
    return (
        row.extra_work <= rule.most_extra_work + WORK_SLACK
        and row.metrics["accuracy_change"].high >= -rule.accuracy_loss
        and not row.overloaded
        and not row.rejected
    )
