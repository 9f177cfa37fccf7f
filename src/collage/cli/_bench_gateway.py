"""`collage bench-gateway`: what a gateway costs, beside other servers and beside none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collage.cli._resumable import Fresh, Out, Report, RunsAndLogs, config_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from collage.bench.gateway import Costs, GatewayJournal, GatewaySettings, ServerRow


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench-gateway")(bench_gateway)


def bench_gateway(
    config: Annotated[Path, typer.Option("--config", "-c", help="What is compared: a TOML file.")] = Path(
        "experiments/gateway.toml"
    ),
    rivals: Annotated[
        Path,
        typer.Option(envvar="COLLAGE_RIVALS", help="What scripts/make-rival-servers.sh made; others are left out."),
    ] = Path(".rivals"),
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds, instead of the file's.")] = None,
    out: Out = Path("results"),
    runs: RunsAndLogs = Path("runs"),
    fresh: Fresh = False,
    report: Report = False,
) -> None:
    """Serve the same model by Collage, by other servers, and by nobody, and compare what a query costs.

    On a machine that is busy with other things, its figures are worth little.
    Ctrl-C stops it; the same command goes on.
    """
    from rich.console import Console

    from collage.bench.gateway import GatewayJournal, load_gateway, measure_costs, missing, summarise, verdicts
    from collage.bench.gateway import write_gateway as write
    from collage.zoo import load_model

    settings = load_gateway(config)
    if rounds is not None:
        settings = settings.model_copy(update={"rounds": rounds})
    journal = GatewayJournal(runs / f"{settings.name}.jsonl", settings)
    if fresh and not report:
        journal.path.unlink(missing_ok=True)
    journal.open()
    console = Console()
    for server in missing(settings, rivals):
        console.print(f"{server.value} is left out: it is not in {rivals}; scripts/make-rival-servers.sh makes it")
    if not report and not _run(settings, journal, runs / settings.name, rivals):
        console.print(f"stopped; {journal.path} keeps what is done, and the same command goes on from there")
        raise typer.Exit(130)
    costs = measure_costs(load_model(settings.single), load_model(settings.backup))
    command = f"collage bench-gateway --config {config_name(config)}"
    paths = write(settings, journal.results, costs, out, command=command)
    rows = summarise(journal.results)
    console.print(_table(rows))
    console.print(_costs(costs), soft_wrap=True)
    for verdict in verdicts(rows):
        console.print(f"{'met' if verdict.met else 'NOT met'}: {verdict.asked}: {verdict.found}", soft_wrap=True)
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


def _run(settings: GatewaySettings, journal: GatewayJournal, folder: Path, rivals: Path) -> bool:
    """Run what is left, with a progress bar. False where the user stopped it."""
    import asyncio

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from collage.bench.gateway import Session, missing, run_gateway, seconds_of, sessions
    from collage.serving import loop_factory

    absent = missing(settings, rivals)
    left = [s for s in sessions(settings) if s.server not in absent and s not in journal]
    typer.echo(f"about {seconds_of(settings, len(left)) / 60:.0f} minutes")
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stdout.isatty(), refresh_per_second=1) as bar:
        task = bar.add_task("starting", total=1)

        def on_session(session: Session, done: int, total: int) -> None:
            name = f"{session.server.value}, {session.model.value}"
            bar.update(task, completed=done, total=total, description=name)
            if bar.disable:
                typer.echo(f"{done + 1} of {total}: {name}")

        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(run_gateway(settings, journal, folder, rivals, on_session))
        except KeyboardInterrupt:
            return False
    return True


def _table(rows: Sequence[ServerRow]) -> Table:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("model")
    table.add_column("server")
    for head in ("queries/s", "p50 ms", "p99 ms", "CPU us", "gateway us", "bad"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(
            row.model.value,
            f"{row.server.value} {row.version}",
            f"{row.rps:,.0f}",
            f"{row.p50_ms:.3g}",
            f"{row.p99_ms:.3g}",
            "" if row.server_us is None else f"{row.server_us:.0f}",
            "" if row.process_us is None else f"{row.process_us:.0f}",
            str(row.bad),
        )
    return table


def _costs(costs: Costs) -> str:
    return "microseconds a query: " + ", ".join(
        f"{name.replace('_', ' ')} {value:.1f}" for name, value in costs.model_dump().items()
    )
