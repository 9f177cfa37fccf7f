"""`collage overhead`: what a backup costs for each query, when every call costs something beside its model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collage.cli._resumable import Out, config_name


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("overhead")(overhead)


def overhead(
    config: Annotated[Path, typer.Option("--config", "-c", help="The experiment, such as experiments/overhead.toml.")],
    out: Out = Path("results"),
) -> None:
    """Measure a single, collages, batches and cheap singles, and say from which overhead a call on which is right.

    On a machine that is busy with other things, its figures are worth little.
    """
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.progress import Progress

    from collage.bench import load_overhead, measure_overhead, overhead_table, write_overhead

    settings = load_overhead(config)
    console = Console()
    with Progress(console=console) as bar:
        task = bar.add_task("calls", total=1.0)
        result = measure_overhead(settings, lambda share: bar.update(task, completed=share))
    command = f"collage overhead --config {config_name(config)}"
    paths = write_overhead(settings, result, out / settings.name, command=command)
    console.print(Markdown(overhead_table(result)))
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)
