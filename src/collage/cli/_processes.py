"""Commands that train: in one process, or as one of several."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from collage.exceptions import SettingsError

if TYPE_CHECKING:
    import torch

    from collage.training import Stop, Team


@contextmanager
def together(processes: int, threads: int | None, folder: Path) -> Iterator[tuple[Team, Stop]]:
    """The team to train with. Where more processes are asked for, runs this very command as so many, and exits.

    Ctrl-C and SIGTERM end with a line that says so and a status of 128 and the signal's number.
    """
    import torch

    from collage.training import Stop, in_team, join_team, run_processes

    if processes > 1 and not in_team():
        share = threads or max(1, torch.get_num_threads() // processes)
        raise typer.Exit(run_processes(processes, sys.argv[1:], share))
    if threads:
        torch.set_num_threads(threads)
    stop = Stop()
    try:
        with stop.listening(), join_team() as team:
            yield team, stop
    except KeyboardInterrupt:
        stop.stopped = True
    if stop.stopped:
        if os.environ.get("RANK", "0") == "0":
            typer.echo(f"stopped; the same command goes on from {folder}", err=True)
        raise typer.Exit(stop.status)


def device_for(name: str | None, processes: int) -> torch.device:
    """Where to train: what `--device` names, or else a GPU where there is one; several processes have none.

    Raises SettingsError for a device that is not there, and for several processes on a GPU.
    """
    from collage.training import choose_device, in_team

    several = processes > 1 or in_team()
    device = choose_device(name or ("cpu" if several else None))
    if several and device.type != "cpu":
        raise SettingsError(f"--device {name}: several processes learn on processors only")
    return device
