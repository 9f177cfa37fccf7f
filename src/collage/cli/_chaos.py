"""`collage chaos`: a real gateway under fire."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collage.cli._resumable import Fresh, Out, Report, RunsAndLogs, config_name
from collage.exceptions import SettingsError

if TYPE_CHECKING:
    from rich.table import Table

    from collage.bench.chaos import ChaosJournal, ChaosSettings, Part
    from collage.bench.chaos.fuzz import FuzzResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("chaos")(chaos)


def chaos(
    config: Annotated[Path, typer.Option("--config", "-c", help="The faults and the load: a TOML file.")] = Path(
        "experiments/chaos.toml"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help="faults, overload, soak or fuzz; may be repeated (default: all).")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault; may be repeated (default: all).")] = None,
    soak_seconds: Annotated[float | None, typer.Option(help="How long the soak lasts, instead of the file's.")] = None,
    out: Out = Path("results"),
    runs: RunsAndLogs = Path("runs"),
    fresh: Fresh = False,
    report: Report = False,
) -> None:
    """Do to a real gateway under load what production does, and account for every query.

    Ctrl-C stops it; the same command goes on with the fault it was at.
    """
    from rich.console import Console

    from collage.bench.chaos import PARTS, ChaosJournal, fuzz_result, load_chaos, write_chaos

    parts = [part for part in PARTS if not only or part in only]
    if only and set(only) - set(PARTS):
        raise SettingsError(f"--only: {', '.join(PARTS)}, not {min(set(only) - set(PARTS))!r}")
    settings = load_chaos(config)
    if fault:
        settings = settings.model_copy(update={"faults": tuple(fault)})
    if soak_seconds is not None and settings.soak is not None:
        settings = settings.model_copy(
            update={"soak": settings.soak.model_copy(update={"seconds": _above_zero(soak_seconds)})}
        )
    journal = ChaosJournal(runs / f"{settings.name}.jsonl", settings)
    if fresh and not report:
        journal.path.unlink(missing_ok=True)
    journal.open()
    console = Console()
    if not report and not _run(settings, journal, runs / settings.name, parts):
        console.print(f"stopped; {journal.path} keeps what is done, and the same command goes on from there")
        raise typer.Exit(130)
    command = f"collage chaos --config {config_name(config)}"
    paths = write_chaos(settings, journal, out, command=command)
    if journal.faults:
        console.print(_table(journal))
    fuzzed = fuzz_result(settings, journal)
    for line in [*_sentences(journal), *([] if fuzzed is None else [_fuzzed(fuzzed)])]:
        console.print(line, soft_wrap=True)
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)
    broken = any(row.lost or row.double or row.swapped for row in journal.faults.values())
    if broken or (fuzzed is not None and not fuzzed.clean):
        raise typer.Exit(1)


def _above_zero(seconds: float) -> float:
    if not seconds > 0:
        raise SettingsError(f"--soak-seconds: {seconds:g}; seconds above 0 are needed")
    return seconds


def _run(settings: ChaosSettings, journal: ChaosJournal, folder: Path, parts: list[Part]) -> bool:
    """Run what is left, with a progress bar. False where the user stopped it."""
    import asyncio

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from collage.bench.chaos import ChaosStep, run_chaos, seconds_of

    total = seconds_of(settings, parts)
    typer.echo(f"about {total / 60:.0f} minutes in all, and some seconds for each start of a process")
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stdout.isatty(), refresh_per_second=2, speed_estimate_period=600) as bar:
        task = bar.add_task("starting", total=total)

        def on_step(step: ChaosStep) -> None:
            bar.update(task, completed=step.done, total=step.total, description=step.what)

        try:
            with asyncio.Runner() as runner:
                runner.run(run_chaos(settings, journal, folder, on_step, parts))
        except KeyboardInterrupt:
            return False
    return True


def _table(journal: ChaosJournal) -> Table:
    from rich.table import Table

    from collage.bench.chaos import ordered

    table = Table(box=None)
    table.add_column("fault")
    for head in ("requests", "lost", "double", "swapped", "degraded", "refused", "late", "before", "during", "normal"):
        table.add_column(head, justify="right")
    for row in ordered(journal):
        counts = (row.requests, row.lost, row.double, row.swapped, row.degraded, row.refused, row.late)
        during = "-" if row.p99_during is None else f"{row.p99_during * 1e3:.0f} ms"
        back = "not yet" if row.recovered_after_s is None else f"{row.recovered_after_s:.1f} s"
        table.add_row(row.fault, *map(str, counts), f"{row.p99_before * 1e3:.0f} ms", during, back)
    return table


def _sentences(journal: ChaosJournal) -> list[str]:
    said = []
    if (over := journal.overload) is not None:
        said.append(
            f"overload: {over.offered:.0f} queries/s of {over.capacity:.0f} that the fleet can do: goodput"
            f" {over.goodput_share:.1%} of capacity, 503 after {over.refused_p50 * 1e3:.1f} ms (p99"
            f" {over.refused_p99 * 1e3:.0f} ms), {over.late_share:.2%} of the accepted late, memory"
            f" {over.memory_before / 2**20:.0f} to {over.memory_most / 2**20:.0f} MiB, extra work"
            f" {over.extra_work_before:.1%} before, {over.extra_work_during:.1%} during"
        )
    if (soak := journal.soak) is not None:
        trends = ", ".join(
            f"{name} {trend.slope_per_hour / scale:+.2f} ± {trend.slope_error / scale:.2f}{unit}"
            for name, trend, scale, unit in (
                ("memory", soak.memory, 2**20, " MiB"),
                ("descriptors", soak.descriptors, 1, ""),
                ("groups", soak.groups, 1, ""),
                ("tasks", soak.tasks, 1, ""),
            )
        )
        said.append(
            f"soak: {soak.requests} queries in {soak.seconds / 60:.0f} minutes, {soak.lost} lost; per hour: {trends}"
        )
    return said


def _fuzzed(found: FuzzResult) -> str:
    return (
        f"fuzz: {found.inputs} inputs: {found.server_errors} server errors, {found.crashes} crashes,"
        f" {found.hangs} hangs, {found.escaped} escaped errors, {found.undescribed} answers that are not described,"
        f" {found.tracebacks} tracebacks; {found.wrong_neighbours} of {found.neighbours} other queries were not"
        f" answered rightly; memory grew by {found.memory_growth / 2**20:.1f} MiB at most. What did harm is kept in the"
        " run's folder fuzz/found"
    )
