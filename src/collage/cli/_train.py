"""`collage train single|collage|cheap|parity|learned`: train a model that an experiment file describes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from collage.exceptions import SettingsError


class TrainRole(StrEnum):
    """What can be trained."""

    SINGLE = "single"
    COLLAGE = "collage"
    CHEAP = "cheap"
    PARITY = "parity"
    LEARNED = "learned"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    role: TrainRole = typer.Argument(help="What to train; must be the file's own role."),
    config: Path = typer.Option(..., "--config", "-c", help="TOML file, as in experiments/."),
    out: Path | None = typer.Option(None, help="Folder of checkpoint and log  [default: runs/<model name>]"),
    single: str | None = typer.Option(None, help="A backup's single, by name or path; teaches it, if none else does."),
    teacher: str | None = typer.Option(None, help="A larger net to learn from, by name or path; no parity can."),
    seed: int | None = typer.Option(None, help="Instead of the file's."),
    epochs: int | None = typer.Option(None, min=1, help="Instead of the file's."),
    limit: int | None = typer.Option(None, min=4, help="Use only so many training images."),
    start: Path | None = typer.Option(None, help="Begin with what the training in this folder has learnt."),
    threads: int | None = typer.Option(None, min=1, help="Processor threads of each process  [default: all cores]"),
    device: str | None = typer.Option(None, help="cpu, cuda or cuda:N  [default: a GPU where CUDA finds one]"),
    processes: int = typer.Option(1, min=1, help="On this machine; more by torchrun (docs/fleet.md)."),
) -> None:
    """Train a model. The same command goes on after a Ctrl-C, at the same step; after a kill, from the last epoch."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from collage.cli._processes import device_for, together
    from collage.training import change_training, load_training, run_training
    from collage.zoo import load_model

    settings = change_training(load_training(config), seed=seed, epochs=epochs, limit=limit, start=start)
    if settings.model.role.value != role.value:
        raise SettingsError(f"{config}: model.role is {settings.model.role}, and the command asks for {role}")
    at = device_for(device, processes)
    folder = out or Path("runs") / settings.model.name
    of, by = (load_model(name) if name else None for name in (single, teacher))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with together(processes, threads, folder) as (team, stop), Progress(*columns, disable=not team.first) as bar:
        asking = bar.add_task("asking the teacher", total=100, visible=False)
        epoch_bar = bar.add_task(f"training {settings.model.name}", total=settings.train.epochs)
        for done in run_training(
            settings,
            folder,
            single=of,
            teacher=by,
            asking=lambda share: bar.update(asking, visible=True, completed=round(100 * share)),
            device=at,
            team=team,
            stop=stop,
        ):
            bar.update(epoch_bar, completed=done.epoch)
            accuracy = f"validation {done.accuracy:.2%} (best {done.best:.2%})  " if done.accuracy is not None else ""
            bar.console.print(
                f"epoch {done.epoch:4d}/{done.epochs}  loss {done.loss:.4f}  {accuracy}{done.seconds:.1f} s"
            )
    if team.first:
        typer.echo(f"{folder}: trained. Next: collage export {folder} --out DIR")
