"""`collage bench`: policies side by side, on real workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collage.cli._resumable import Fresh, Out, Report, Runs, config_name, wide_console

if TYPE_CHECKING:
    from collage.bench import BenchSettings, Journal

_TABLE_WIDTH = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(_bench)


def _bench(
    config: Annotated[Path, typer.Option(help="The experiment: a TOML file, such as experiments/tail-live.toml.")],
    out: Out = Path("results"),
    runs: Runs = Path("runs"),
    fresh: Fresh = False,
    report: Report = False,
) -> None:
    """Run policies side by side on real workers, and write a table and a picture.

    Ctrl-C stops it; the same command goes on where it was.
    """
    from collage.bench import Journal, experiment_id, load_bench, report_bench, terminal_table

    settings = load_bench(config)
    journal = Journal(runs / f"{settings.name}.jsonl", experiment_id(settings))
    if fresh and not report:
        journal.path.unlink(missing_ok=True)
    journal.open()
    console = wide_console(_TABLE_WIDTH)
    if not report and not _run(settings, journal):
        console.print(f"stopped with {len(journal.done)} turns done; the same command goes on from there")
        raise typer.Exit(130)
    command = f"collage bench --config {config_name(config)}"
    rows, paths = report_bench(settings, journal, out, command=command)
    console.print(terminal_table(rows))
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


def _run(settings: BenchSettings, journal: Journal) -> bool:
    """Run what is left, with a progress bar. False where the user stopped it."""
    import asyncio

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from collage.bench import Step, run_bench
    from collage.serving import loop_factory

    columns = (
        TextColumn("{task.description:<48}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, disable=not sys.stdout.isatty(), refresh_per_second=2, speed_estimate_period=120) as bar:
        task = bar.add_task("starting, measuring the machine", total=settings.seconds)

        def on_step(step: Step) -> None:
            turn = step.turn
            label = f"block {turn.block + 1}/{settings.blocks} {turn.straggler} load {turn.load:g} {turn.policy}"
            bar.update(task, completed=step.done, description=f"{label} (again)" if step.beyond else label)

        try:  # the gateway's own event loop: its timers and sockets are part of what is measured
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(run_bench(settings, journal, on_step))
        except KeyboardInterrupt:
            return False
        bar.update(task, completed=settings.seconds, description="done")
    return True
