"""`collage simulate`: policies side by side in virtual time."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collage.dispatch import Policy

_MEASURES = ("mean", "std", "p50", "p99", "p999", "degraded_share", "extra_work", "tiles_per_backup")


class Stragglers(StrEnum):
    """How slowness comes."""

    IID = "iid"
    EPISODES = "episodes"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    policies: str = typer.Option("none,hedge,cheap,collage,collage-dedicated", help="Presets, separated by commas."),
    loads: str = typer.Option("0.3,0.5,0.7", help="Loads, separated by commas."),
    workers: int = typer.Option(10, min=1, max=10_000),
    requests: int = typer.Option(20_000, min=100, help="Counted requests a policy and load."),
    grid: int = typer.Option(3, min=2, max=5, help="Tiles a side of a collage; a batch holds as many images."),
    k: int = typer.Option(2, min=2, max=16, help="Images of a parity or a learned code."),
    profile: str = typer.Option("resnet34-cpu", help="Service times: a shipped profile, or a profile's file."),
    stragglers: Stragglers = typer.Option(Stragglers.IID, help="Independent slow jobs, or workers slow for a while."),
    slow: str = typer.Option("57,3", help="Episodes: mean seconds that a worker is normal, and slow."),
    collage_cost: float = typer.Option(1.0, min=0.01, max=10, help="A collage's, or a batch's, call over a single's."),
    cheap_cost: str = typer.Option("0.1,0.015", help="A cheap single's call over a single's, and seconds beside it."),
    parity_cost: float = typer.Option(
        1.0, min=0.01, max=10, help="A parity's, or learned code's, call over a single's."
    ),
    changes: list[str] = typer.Option([], "--set", help="Change a preset: hedge.budget=0.15. May be given again."),
    seed: int = typer.Option(1, min=0),
    out: Path | None = typer.Option(None, help="Write the rows as CSV too."),
) -> None:
    """Run the real dispatcher against modelled workers, in virtual time."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from collage.simulation import PointResult, make_scenario, run_point

    chosen = _policies(policies.split(","), changes)
    asked = _numbers("loads", loads)
    ratio, overhead = _numbers("cheap-cost", cheap_cost, count=2)
    normal, slowly = _numbers("slow", slow, count=2)
    whole, joint = {"ratio": collage_cost}, {"ratio": parity_cost}
    kind: dict[str, object] = {"kind": "profile", "profile": profile}
    if stragglers is Stragglers.EPISODES:
        kind = {"kind": "episodes", "profile": profile, "normal_seconds": normal, "slow_seconds": slowly}
    scenario = make_scenario({
        "workers": workers,
        "load": asked[0],
        "times": kind,
        "costs": {"collage": whole, "batch": whole, "cheap": {"ratio": ratio, "overhead": overhead}, "parity": joint,
                  "learned": joint},
    })  # fmt: skip
    rows: list[tuple[str, float, PointResult]] = []
    with Progress(disable=not sys.stdout.isatty(), transient=True) as bar:
        task = bar.add_task("", total=len(chosen) * len(asked) * requests)
        for load in asked:
            for name, policy in chosen.items():

                def progress(arrived: int) -> None:
                    done = len(rows) * requests + min(arrived, requests)
                    bar.update(task, description=f"{name} at load {load:g}", completed=done)  # noqa: B023

                point = run_point(
                    policy, scenario.changed(load=load), queries=requests, seed=seed, grid=grid, k=k, progress=progress
                )
                rows.append((name, load, point))
    table = Table(title=f"{workers} workers, {stragglers.value}, {requests:,} simulated requests a row; milliseconds")
    for column in ("load", "policy", "mean", "std", "p50", "p99", "p99.9", "degraded", "extra", "tiles"):
        table.add_column(column, justify="left" if column == "policy" else "right", no_wrap=column == "policy")
    for name, load, row in rows:
        milliseconds = (f"{1000 * value:.0f}" for value in (row.mean, row.std, row.p50, row.p99, row.p999))
        table.add_row(
            f"{load:g}", name, *milliseconds, f"{row.degraded_share:.1%}", f"{row.extra_work:.1%}",
            f"{row.tiles_per_backup:.1f}" if row.tiles_per_backup else "",
        )  # fmt: skip
    Console().print(table)
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("policy", "load", "requests", *_MEASURES))
            writer.writerows(
                (name, load, row.queries, *(getattr(row, key) for key in _MEASURES)) for name, load, row in rows
            )


def _policies(names: list[str], changes: list[str]) -> dict[str, Policy]:
    """The presets, changed. Raises SettingsError that names the change."""
    from collage.dispatch import get_policy
    from collage.exceptions import SettingsError

    changed: dict[str, dict[str, object]] = {name: {} for name in names}
    for change in changes:
        name, dot, rest = change.partition(".")
        key, equals, value = rest.partition("=")
        if not dot or not equals or name not in changed:
            raise SettingsError(f"--set: {change!r} is not POLICY.KEY=VALUE with one of {', '.join(names)}")
        changed[name][key] = value  # the policy's own fields say what it must be
    return {name: get_policy(name, **own) for name, own in changed.items()}


def _numbers(option: str, text: str, count: int | None = None) -> list[float]:
    """Raises SettingsError that names the option."""
    from collage.exceptions import SettingsError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or (option == "loads" and not 0 < min(numbers) <= max(numbers) <= 2):
        raise SettingsError(f"--{option}: {text!r} is no list of numbers in range, such as 0.3,0.7")
    if count is not None and len(numbers) != count:
        raise SettingsError(f"--{option}: {text!r} needs {count} numbers")
    return numbers
