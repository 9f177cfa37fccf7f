"""`collage quantise MODEL`: the same model in INT8, or with its weights stored at half precision."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer


class Target(StrEnum):
    """What a model can be turned into."""

    INT8 = "int8"
    HALF = "half"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quantise")(quantise)


def quantise(
    model: str = typer.Argument(help="Name or path of a model."),
    out: Path = typer.Option(..., help="Folder for the new model and its card."),
    to: Target = typer.Option(Target.INT8, help="int8: faster where the processor can; half: half the file."),
    images: int = typer.Option(512, min=1, help="Training images that INT8 ranges are taken from."),
    dataset: str | None = typer.Option(None, help="Where they are from  [default: the model's own dataset]"),
) -> None:
    """Write the model in fewer bits, as a model of its own. Then 'collage evaluate' says what that cost, and gained."""
    from collage.training import quantise_model
    from collage.zoo import load_model

    source = load_model(model)
    made = quantise_model(source, out, bits=to.value, images=images, dataset=dataset)
    before, after = (one.path.stat().st_size / 1e6 for one in (source, made))
    typer.echo(f"{made.path}: {after:.2f} MB instead of {before:.2f} MB")
