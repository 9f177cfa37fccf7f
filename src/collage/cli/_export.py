"""`collage export RUN_FOLDER`: a finished training becomes an ONNX file with its card."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collage.training import TrainingSettings


class ExportKind(StrEnum):
    """What else a tile-isolated collage-cnn can become."""

    BATCH = "batch"
    CHEAP = "cheap"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    run_folder: Path = typer.Argument(help="Folder of a training, as 'collage train' leaves it."),
    out: Path = typer.Option(..., help="Folder for NAME.onnx and its card, NAME.json."),
    single: str | None = typer.Option(None, help="Name or path of the single that taught a backup."),
    kind: ExportKind | None = typer.Option(
        None, "--as", help="Of a tile-isolated collage-cnn: the same weights as another code's model, named after it."
    ),
    grid: int | None = typer.Option(
        None, min=2, max=5, help="Of a tile-isolated collage-cnn: the same weights for another grid."
    ),
    half: bool = typer.Option(
        False, "--half", help="Store weights at half precision: half the file, the same answers."
    ),
    config: Path | None = typer.Option(
        None, help="The training's TOML file, for the card to name  [default: experiments/<model name>.toml]"
    ),
) -> None:
    """Write a trained model as ONNX, with a card that says what it is and how to make it again."""
    from collage.dispatch import Role
    from collage.training import export_model, load_net
    from collage.zoo import load_model

    settings = load_net(run_folder)[0]
    taught_by = load_model(single) if single else None
    config = config or Path("experiments") / f"{settings.model.name}.toml"
    command = _command(settings, run_folder, config, taught_by.card.name if taught_by else None)
    if command:
        command += (
            (f" --as {kind.value}" if kind else "") + (f" --grid {grid}" if grid else "") + (" --half" if half else "")
        )
    else:
        typer.echo(f"{config} does not describe this training: the card will not say how to make it again", err=True)
    role = Role(kind.value) if kind else None
    model = export_model(run_folder, out, single=taught_by, kind=role, grid=grid, half=half, command=command)
    cost = model.card.cost
    assert cost is not None  # export counts it
    ratio = f" ({cost.macs_ratio:.3f} of the single's)" if cost.macs_ratio is not None else ""
    typer.echo(
        f"{model.path}: {cost.params:,} parameters, {cost.macs:,} multiply-accumulates a call{ratio},"
        f" {model.path.stat().st_size / 1e6:.2f} MB"
    )


def _command(settings: TrainingSettings, folder: Path, config: Path, single: str | None) -> str:
    """The commands that make this model again, or nothing where `config` does not describe its training."""
    from collage.training import change_training, has_own_teacher, load_training

    if not config.is_file():
        return ""
    base = load_training(config)
    loop, own = settings.train, base.train
    changes = {
        "seed": loop.seed if loop.seed != own.seed else None,
        "epochs": loop.epochs if loop.epochs != own.epochs else None,
        "limit": settings.data.limit if settings.data.limit != base.data.limit else None,
    }
    start = loop.start if loop.start != own.start else None
    if change_training(base, **changes, start=start) != settings:
        return ""
    file = config.name if config.is_absolute() else config.as_posix()
    belongs = f" --single {single}" if single else ""
    options = "".join(f" --{name} {value}" for name, value in changes.items() if value is not None)
    if start is not None:
        options += f" --start {start.as_posix()}"
    name, role = settings.model.name, settings.model.role.value
    # Another teacher than the single is nothing to the card: the file's first lines say where it comes from.
    learns = f"{belongs} --teacher TEACHER" if has_own_teacher(folder) else belongs
    return f"collage train {role} --config {file}{learns}{options} && collage export runs/{name} --out models{belongs}"
