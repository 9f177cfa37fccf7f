"""What commands share that run something long, keep what is done, and go on from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Runs = Annotated[Path, typer.Option(help="Folder for what an unfinished run has so far.")]
RunsAndLogs = Annotated[Path, typer.Option(help="Folder for what an unfinished run has so far, and for logs.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin again instead of going on.")]
Report = Annotated[bool, typer.Option("--report", help="Only report what has been run so far.")]


def config_name(config: Path) -> str:
    """A settings file as a kept command names it: no folders of this machine."""
    return config.name if config.is_absolute() else str(config)


def wide_console(least: int) -> Console:
    """A console of so many columns at least: lines that wrap are better than figures cut off."""
    from rich.console import Console

    return Console(width=max(Console().width, least))
