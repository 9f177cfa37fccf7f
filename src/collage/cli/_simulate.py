"""`collage simulate`: policies side by side in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collage.cli._resumable import Fresh, Runs, config_name, wide_console
from collage.cli._simulate_flags import Cancel, Stragglers

if TYPE_CHECKING:
    from rich.console import Console

    from collage.bench.simulated import Experiment, Size

_WIDTH = 150


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    config: Annotated[
        Path | None,
        typer.Option(help="An experiment's file, or a folder of them; the flags from --policies on are then not used."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results (absent: results/NAME); with a folder of experiments, the folder of those"
            " folders. Without --config: a CSV file."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Points at a time, each on a core of its own.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: fewer queries, one seed; into runs/.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The file's full size.")] = False,
    fresh: Fresh = False,
    runs: Runs = Path("runs"),
    policies: Annotated[
        str, typer.Option(help="Presets, separated by commas.")
    ] = "none,hedge,cheap,collage,collage-dedicated",
    loads: Annotated[str, typer.Option(help="Loads, separated by commas.")] = "0.3,0.5,0.7",
    workers: Annotated[int, typer.Option(min=1, max=10_000)] = 10,
    requests: Annotated[int, typer.Option(min=100, help="Counted requests a policy and load.")] = 20_000,
    grid: Annotated[int, typer.Option(min=2, max=5, help="Tiles a side of a collage; a batch holds as many.")] = 3,
    k: Annotated[int, typer.Option(min=2, max=16, help="Images of a parity or a learned code.")] = 2,
    profile: Annotated[str, typer.Option(help="Service times: a shipped profile, or its file.")] = "resnet34-cpu",
    stragglers: Annotated[
        Stragglers, typer.Option(help="Independent slow jobs, or workers slow for a while.")
    ] = Stragglers.IID,
    slow: Annotated[str, typer.Option(help="Episodes: mean seconds that a worker is normal, and slow.")] = "57,3",
    cancel: Annotated[Cancel, typer.Option(help="What cancelling a running job does.")] = Cancel.NOTHING,
    collage_cost: Annotated[
        float, typer.Option(min=0.01, max=10, help="A collage's, or a batch's, call over a single's.")
    ] = 1.0,
    cheap_cost: Annotated[
        str, typer.Option(help="A cheap single's call over a single's, and seconds beside it.")
    ] = "0.1,0.015",
    parity_cost: Annotated[
        float, typer.Option(min=0.01, max=10, help="A parity's, or learned code's, call over a single's.")
    ] = 1.0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a preset: hedge.budget=0.15. May be given again.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Run the real dispatcher against modelled workers, in virtual time.

    With --config, experiments from files: tables, figures, and on Ctrl-C the same command goes on where it was.
    """
    from collage.cli._simulate_flags import from_flags
    from collage.exceptions import SettingsError

    console = wide_console(_WIDTH)
    if quick and full:
        raise SettingsError("--quick, --full: one of them")
    if config is not None:
        _from_files(config, out, jobs, "quick" if quick else "full" if full else "usual", fresh, runs, console)
        return
    experiment = from_flags(
        policies=policies, loads=loads, workers=workers, requests=requests, grid=grid, k=k, profile=profile,
        stragglers=stragglers, slow=slow, cancel=cancel, collage_cost=collage_cost, cheap_cost=cheap_cost,
        parity_cost=parity_cost, changes=changes or [],
    )  # fmt: skip
    _ad_hoc(experiment, seed, jobs, out, console)


def _from_files(
    config: Path, out: Path | None, jobs: int, size: str, fresh: bool, runs: Path, console: Console
) -> None:
    from collage.bench.simulated import load_experiment
    from collage.exceptions import SettingsError

    files = sorted(config.glob("*.toml")) if config.is_dir() else [config]
    if not files:
        raise SettingsError(f"{config}: holds no experiment, that is no .toml file")
    experiments = [load_experiment(path) for path in files]  # all of them, before any is run
    for path, experiment in zip(files, experiments, strict=True):
        home = runs / "quick" if size == "quick" else Path("results")
        folder = (out or home) / experiment.name if out is None or config.is_dir() else out
        flags = "" if size == "usual" else f" --{size}"
        command = f"collage simulate --config {config_name(path)}{flags}"
        chosen = experiment.size(size)  # type: ignore[arg-type]
        _one(experiment, chosen, jobs, runs / f"{experiment.name}.points.jsonl", fresh, folder, command, console)


def _one(
    experiment: Experiment,
    size: Size,
    jobs: int,
    journal_path: Path,
    fresh: bool,
    folder: Path,
    command: str,
    console: Console,
) -> None:
    from collage.bench.report import write_result
    from collage.bench.simulated import PointJournal, points, terminal_table
    from collage.cli._simulate_run import run_experiment

    if fresh:
        journal_path.unlink(missing_ok=True)
    journal = PointJournal(journal_path)
    asked = points(experiment, size)
    found = run_experiment(experiment, asked, journal, jobs, console)
    if found is None:
        done = sum(journal.find(point) is not None for point in asked)
        console.print(f"stopped with {done} of {len(asked)} points done; the same command goes on from there")
        raise typer.Exit(130)
    rows, merged = found
    console.print(terminal_table(rows, title=experiment.title))
    paths = write_result(folder, experiment, size, rows, merged, command=command)
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


def _ad_hoc(experiment: Experiment, seed: int, jobs: int, out: Path | None, console: Console) -> None:
    from collage.bench.report import write_table
    from collage.bench.simulated import PointJournal, points, terminal_table
    from collage.cli._simulate_run import run_experiment

    asked = [point._replace(seed=seed) for point in points(experiment, experiment.size("usual"))]
    found = run_experiment(experiment, asked, PointJournal(), jobs, console)
    if found is None:
        raise typer.Exit(130)
    rows, _ = found
    console.print(terminal_table(rows, title=experiment.title))
    if out is not None:
        write_table(out, rows)
