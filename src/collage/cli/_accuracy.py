"""`collage accuracy`: every shipped model on test images, one table; only what has changed is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collage.training import AccuracyRow


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("accuracy")(accuracy)


def accuracy(
    out: Path = typer.Option(Path("results"), help="Folder of accuracy.json and accuracy/<single>/."),
    models: Path | None = typer.Option(None, help="Folder of models with cards  [default: the shipped ones]"),
    seeds: list[Path] = typer.Option(
        [], help="Folder of backups of the same names, trained with another seed; may be given again."
    ),
    beside: list[Path] = typer.Option(
        [], help="Folder of backups to compare with that are not shipped; their rows stay. May be given again."
    ),
    dataset: str | None = typer.Option(None, help="A dataset with test images  [default: each single's own]"),
    limit: int | None = typer.Option(None, min=1, help="Use only so many test images."),
    again: bool = typer.Option(False, "--again", help="Measure what has not changed, too."),
) -> None:
    """Measure all singles and their backups: accuracy, cost, calibration, and every image's answer.

    Interrupted, or after one model has changed, it measures just what is missing.
    """
    from rich.console import Console

    from collage.cli._bars import progress_bars
    from collage.exceptions import ModelError
    from collage.training import measure_accuracy
    from collage.zoo import list_models

    found = list_models(models) if models else list_models()
    others = [seed for folder in seeds for seed in list_models(folder)]
    if seeds and not others:
        raise ModelError(f"{seeds[0]}: no model in it; give the folder of a 'collage export'")
    rivals = [model for folder in beside for model in list_models(folder) if model.card.single_sha256 is not None]
    if beside and not rivals:
        raise ModelError(f"{beside[0]}: no backup in it; give the folder of a 'collage export'")
    console = Console()
    with progress_bars(console) as told:
        rows = measure_accuracy(
            found, out, seeds=others, beside=rivals, dataset=dataset, limit=limit, again=again, told=told
        )
    console.print(_table(rows))
    console.print(f"{out}/accuracy.json; tables, pictures and outcomes in {out}/accuracy/")


def _table(rows: list[AccuracyRow]) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    caption = "MACs and time: one call over one call of the single. n: images that one call protects."
    table = Table(box=SIMPLE, padding=0, pad_edge=False, caption=caption)
    for heading in ("model", "n", "accuracy", "below", "MACs", "time", "ECE", "same"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for row in rows:
        a_d = row["a_d"]
        table.add_row(
            row["model"],
            str(row["n"]),
            f"{row['a_a'] if a_d is None else a_d:.2%}" + (f" ± {row['a_d_std']:.2%}" if row["a_d_std"] else ""),
            "" if a_d is None else f"{100 * (row['a_a'] - a_d):.2f}",
            "?" if row["macs_ratio"] is None else f"{row['macs_ratio']:.3f}",
            "?" if row["latency_ratio"] is None else f"{row['latency_ratio']:.3f}",
            f"{row['ece']:.2%}",
            "" if row["agreement"] is None else f"{row['agreement']:.2%}",
        )
    return table
