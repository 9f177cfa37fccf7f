"""`collage fleet`: studies of workers that come and go, of several gateways, and of the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collage.cli._resumable import Out, Runs, config_name, wide_console

_COLUMNS = 150  # of tables with all that was measured
_Together = Annotated[Path, typer.Option(help="File of all such studies; this one's part of it is written.")]

_CONFIGS = ["gateways", "gateways-skew", "gateways-trace"]

fleet = typer.Typer(name="fleet", help="Studies: elastic workers, several gateways, the edge.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(fleet)


@fleet.command()
def elastic(
    out: Out = Path("results/elastic"),
    together: _Together = Path("results/fleet.json"),
    step_seconds: float = typer.Option(60.0, min=5, help="Seconds of each step of the load."),
    load: float = typer.Option(1.5, min=0.1, help="Workers that the first step keeps busy."),
    most: int = typer.Option(8, min=2, max=64, help="The most workers."),
) -> None:
    """A load that doubles and halves, and local workers that follow it. It takes five steps' time."""
    from rich.console import Console

    from collage.bench.fleet import ElasticPlan, run_elastic, summarise_elastic, update_fleet_json, write_elastic
    from collage.cli._bars import progress_bars

    plan = ElasticPlan(step_seconds=step_seconds, load=load, most=most)
    console = Console()
    with progress_bars(console) as told:
        result = run_elastic(plan, lambda share: told("load", share))
    command = f"collage fleet elastic --step-seconds {step_seconds:g} --load {load:g} --most {most}"
    paths = [*write_elastic(result, out, command), together]
    found = summarise_elastic(result)
    update_fleet_json(together, "elastic", found | {"command": command})
    fewest, most_there = found["workers_least"], found["workers_most"]
    console.print(f"{found['requests']} queries, {found['lost']} lost; {fewest} to {most_there} workers")
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


@fleet.command()
def gateways(
    config: Annotated[
        list[Path] | None,
        typer.Option(help="An experiment's file; may be given again. Absent: experiments/fleet/gateways*.toml."),
    ] = None,
    out: Out = Path("results/gateways"),
    together: _Together = Path("results/fleet.json"),
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Points at a time, each on a core of its own.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: fewer queries, one seed.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Several gateways before one pool of workers, in virtual time: what they share, and what that is worth."""
    from collage.bench.fleet import gateway_rows, update_fleet_json, write_gateways
    from collage.bench.simulated import PointJournal, load_experiment, points, terminal_table
    from collage.cli._simulate_run import run_experiment

    files = config or [Path("experiments/fleet") / f"{name}.toml" for name in _CONFIGS]
    experiments = [load_experiment(path) for path in files]  # all of them, before any is run
    console = wide_console(_COLUMNS)
    found, paths = [], []
    for path, experiment in zip(files, experiments, strict=True):
        size = experiment.size("quick" if quick else "usual")
        done = run_experiment(
            experiment, points(experiment, size), PointJournal(runs / f"{experiment.name}.points.jsonl"), jobs, console
        )
        if done is None:
            console.print("stopped; the same command goes on from there")
            raise typer.Exit(130)
        rows, merged = done
        console.print(terminal_table(rows, title=experiment.title))
        command = f"collage fleet gateways --config {config_name(path)}{' --quick' * quick}"
        paths += write_gateways(out, experiment, size, rows, merged, command=command)
        found += gateway_rows(rows, command)
    update_fleet_json(together, "gateways", found)
    console.print("written: " + ", ".join(map(str, [*paths, together])), soft_wrap=True)


@fleet.command()
def ddp(
    config: Annotated[Path, typer.Option(help="The study's file.")] = Path("experiments/fleet/ddp.toml"),
    out: Out = Path("results/ddp"),
    together: _Together = Path("results/fleet.json"),
    runs: Annotated[Path, typer.Option(help="Folder for the trainings; what is done is not done again.")] = Path(
        "runs/ddp"
    ),
) -> None:
    """One process against several that train the same net: what they learn, and how fast. On a machine of its own."""
    from rich.console import Console

    from collage.bench.fleet import load_ddp, run_ddp, update_fleet_json, write_ddp
    from collage.cli._bars import progress_bars

    plan, console = load_ddp(config), Console()
    with progress_bars(console) as told:
        done = run_ddp(plan, runs, lambda share: told("trainings", share))
    found, paths = write_ddp(done, out, plan, f"collage fleet ddp --config {config_name(config)}")
    update_fleet_json(together, "ddp", found)
    for training in found["trainings"]:
        for row in training["rows"]:
            console.print(
                f"{training['training']}, {row['processes']} x {row['threads']} threads: test {row['mean']:.2%}"
                f" ± {row['std']:.2%}, {row['images_a_second']} images a second ({row['speed']:.2f} times)"
            )
    console.print("written: " + ", ".join(map(str, [*paths, together])), soft_wrap=True)


@fleet.command()
def edge(
    config: Annotated[Path, typer.Option(help="The study's file.")] = Path("experiments/fleet/edge.toml"),
    out: Out = Path("results/edge"),
    together: _Together = Path("results/fleet.json"),
    measured: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="In network namespaces, as root on Linux; or simulate only."),
    ] = True,
) -> None:
    """Cameras behind a thin uplink: everything sent, a collage beside it, the collage first. Measured and simulated."""
    from rich.table import Table

    from collage.bench.fleet import load_edge_plan, run_edge, update_fleet_json, write_edge
    from collage.cli._bars import progress_bars

    plan = load_edge_plan(config)
    console = wide_console(_COLUMNS)
    with progress_bars(console) as told:
        rows, why = run_edge(plan, measured=measured, told=lambda share: told("measured", share))
    table = Table()
    shown = [
        "how",
        "up_mbit",
        "way",
        "bytes_up",
        "p50_ms",
        "p99_ms",
        "by_collage",
        "without_answer",
        "a_o",
        "radio_joule",
        "edge_joule",
    ]
    for name in shown:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in shown))
    console.print(table)
    if why is not None:
        console.print(f"nothing was measured: {why}")
    flags = "" if measured else " --no-measure"
    command = f"collage fleet edge --config {config_name(config)}{flags}"
    paths = write_edge(plan, rows, why, out, command)
    update_fleet_json(together, "edge", [row | {"command": command} for row in rows])
    console.print("written: " + ", ".join(map(str, [*paths, together])), soft_wrap=True)


@fleet.command()
def ray(
    out: Out = Path("results/ray"),
    together: _Together = Path("results/fleet.json"),
    calm_seconds: float = typer.Option(40.0, min=2, help="Seconds before the node is killed, and after each step."),
    load: float = typer.Option(1.6, min=0.1, help="Workers that singles keep busy, of four."),
) -> None:
    """Three nodes of a Ray cluster on this machine: one is killed under load, then another joins. Needs `ray`."""
    from rich.console import Console

    from collage.bench.fleet import RayPlan, run_ray, summarise_ray, update_fleet_json, write_ray

    console = Console()
    result = run_ray(RayPlan(load=load, calm_seconds=calm_seconds), console.print)
    command = f"collage fleet ray --calm-seconds {calm_seconds:g} --load {load:g}"
    paths = [*write_ray(result, out, command), together]
    found = summarise_ray(result)
    update_fleet_json(together, "ray", found | {"command": command})
    console.print(
        f"{found['requests']} queries, {found['lost']} lost, {found['double']} answered twice, {found['wrong']} wrong;"
        f" p99 {found['p99_before_ms']}, {found['p99_during_ms']}, {found['p99_after_ms']} ms before, during and after;"
        f" all workers were up again after {found['recovered_after_s']} s"
    )
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)
