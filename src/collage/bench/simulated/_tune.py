"""Which of the rows that were tried are kept: all, or the best of a tuning."""

from __future__ import annotations

from collections.abc import Sequence

from collage.bench.simulated._row import SimulatedRow
from collage.bench.simulated._settings import Experiment

# Extra work is measured: a rival that spends so much more than its bound is taken to be within it.
WORK_SLACK = 0.005


def mark_kept(experiment: Experiment, rows: Sequence[SimulatedRow]) -> list[SimulatedRow]:
    """The rows, with `kept` as the experiment says.

    Of a tuned policy's rows of one cell, the one with the lowest p99 among those within its bound is kept. Where none
    is within it, the one that spends least: its extra work is beside it, and no verdict counts it as a fair rival.
    """
    kept: set[int] = set()
    groups: dict[tuple[object, int], list[int]] = {}
    for number, row in enumerate(rows):
        if experiment.policies[row.entry].tune:
            groups.setdefault((row.cell, row.entry), []).append(number)
        else:
            kept.add(number)
    for (_, entry), numbers in groups.items():
        tried = [rows[number] for number in numbers]
        bound = _bound(experiment.policies[entry].within, tried[0], rows)
        within = [number for number in numbers if rows[number].extra_work <= bound + WORK_SLACK]
        best = (
            min(within, key=lambda number: rows[number].p99)
            if within
            else min(numbers, key=lambda number: rows[number].extra_work)
        )
        kept.add(best)
    return [row.model_copy(update={"kept": number in kept}) for number, row in enumerate(rows)]


def _bound(within: float | str | None, tried: SimulatedRow, rows: Sequence[SimulatedRow]) -> float:
    """A number, or the most that the named policy spends in the same cell."""
    if within is None:
        return float("inf")
    if isinstance(within, str):
        return max((row.extra_work for row in rows if row.label == within and row.cell == tried.cell), default=0.0)
    return within
