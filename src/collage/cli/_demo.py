"""`collage demo`: a gateway with the shipped models, visitors who send images, and a worker that straggles."""

from __future__ import annotations

import random
from collections.abc import Callable

import typer

_SINGLE, _BACKUP = "fashion-mnist-single", "fashion-mnist-collage-3x3"
_JOB_SECONDS = 0.08  # what a job usually takes here
_SPREAD = 0.15  # sigma of its logarithm

# The straggler has a good part of these few workers' jobs, so that what is usual shows below the usual quantiles, and a
# collage that meets it costs fifteen times the usual: the purse must bear that. There is no second line, so that
# visitors who refuse a backup's answer see what the straggler would have cost them.
_OVERRIDES = {"warmup": 20, "patience_quantile": 0.8, "budget": 0.5, "burst": 50, "second_line": False}

_INTRODUCTION = """\
[bold]Collage demo[/bold]: {workers} workers on this machine, each with
  the single       [bold]{single}[/bold], which classifies one image, and
  the collage-cnn  [bold]{backup}[/bold], which classifies {capacity} in one pass.
[dim]The shipped models are tiny, so a worker holds every job for a drawn time,
about {milliseconds:.0f} ms, as if they were large. The answers are real; the waiting is not.[/dim]
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    port: int = typer.Option(8080, min=0, max=65535, help="Where to serve; 0 picks a free port."),
    workers: int = typer.Option(5, min=2, max=32, help="Worker processes."),
    once: bool = typer.Option(False, "--once", help="Exit after the summary."),
) -> None:
    """Start a gateway with the shipped models, send it images, and watch a straggler being covered by the collage."""
    from rich.console import Console

    from collage.cli._demo_show import Show
    from collage.serving import DataPlane, load_settings, serve

    settings = load_settings(
        port=port,
        workers=workers,
        single=_SINGLE,
        backup=_BACKUP,
        policy="collage",
        policy_overrides=_OVERRIDES,
        demo=True,
        drain_seconds=3.0,
    )
    plane = DataPlane(settings, hold=_holder())
    backup = plane.backup
    assert backup is not None  # the settings name one
    console = Console(highlight=False)
    console.print(
        _INTRODUCTION.format(
            workers=workers,
            single=plane.single.card.name,
            backup=backup.card.name,
            capacity=backup.card.capacity,
            milliseconds=_JOB_SECONDS * 1e3,
        )
    )
    show = Show(console, once)
    try:
        serve(settings, show.begin, plane=plane)
    finally:
        show.end()


def _holder() -> Callable[[str, object], float]:
    """Draws the time for which a worker holds a job: log-normal."""
    draw = random.Random(0)
    return lambda _worker, _role: _JOB_SECONDS * draw.lognormvariate(0.0, _SPREAD)
