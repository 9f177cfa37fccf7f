"""Running a simulated experiment in a terminal: progress, a table that grows, Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, Group

    from collage.bench.simulated import Experiment, Point, PointJournal, SimulatedRow, Step
    from collage.simulation import PointResult

_SHOWN = 25  # rows of the growing table
_PAUSE = 1.0  # seconds between two looks at the table: making it takes time that the points could have


def run_experiment(
    experiment: Experiment, points: Sequence[Point], journal: PointJournal, jobs: int, console: Console
) -> tuple[list[SimulatedRow], list[PointResult]] | None:
    """Run what is left; the rows, and each row's pooled result. None where the user stopped it."""
    from rich.live import Live

    from collage.bench.simulated import run_points, summarise

    view = _View(experiment, points, journal)
    # A plain terminal gets the finished table only: a picture that is drawn over and over is no use in a log.
    live = Live(view.render(), console=console, auto_refresh=False, transient=True) if sys.stdout.isatty() else None

    def on_step(step: Step) -> None:
        if view.step(step) and live is not None:
            live.update(view.render(), refresh=True)

    try:
        if live is None:
            run_points(points, journal, jobs=jobs, on_step=on_step)
        else:
            with live:
                run_points(points, journal, jobs=jobs, on_step=on_step)
    except KeyboardInterrupt:
        return None
    return summarise(experiment, points, journal)


class _View:
    """The rows that are done, above a bar of queries."""

    def __init__(self, experiment: Experiment, points: Sequence[Point], journal: PointJournal) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        from collage.bench.simulated import total_queries

        self._experiment, self._points, self._journal = experiment, points, journal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            speed_estimate_period=60,
        )
        self._task = self._bar.add_task(experiment.name, total=total_queries(points))
        self._looked = 0.0

    def step(self, step: Step) -> bool:
        """Take a step in; whether it is time to show it."""
        self._bar.update(self._task, completed=step.queries)
        now = time.monotonic()
        if now - self._looked < _PAUSE:
            return False
        self._looked = now
        return True

    def render(self) -> Group:
        from rich.console import Group

        from collage.bench.simulated import summarise, terminal_table

        rows, _ = summarise(self._experiment, self._points, self._journal)
        table = terminal_table(rows, title=self._experiment.title, most=_SHOWN)
        return Group(*([table] if rows else []), self._bar)
