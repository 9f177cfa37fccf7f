"""`collage report`: one page of everything that was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    results: Annotated[Path, typer.Option(help="Where results are: one folder an experiment.")] = Path("results"),
    out: Annotated[Path | None, typer.Option(help="Folder for the report; absent: RESULTS/report.")] = None,
) -> None:
    """Write index.html, which needs no network, and report.md, from whatever results are there.

    Opens with "should I use this?". All simulated rows go into tail.json beside the results too.
    """
    from collage.bench.report import build_report

    paths = build_report(results, out or results / "report")
    typer.echo("written: " + ", ".join(map(str, paths)))
