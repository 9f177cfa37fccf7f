"""`collage calibrate SINGLE --backup B`: make confidence mean what it says."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    single: str = typer.Argument(help="Name or path of the single."),
    backup: list[str] = typer.Option([], help="Name or path of a backup of it; may be given again."),
    dataset: str | None = typer.Option(None, help="What they were trained on  [default: as the single's card says]"),
) -> None:
    """Fit each model's temperature on the images that its training kept out, and write it into its card.

    A backup's card also gets the confidence from which on its answers are as often right as the single's: policies that
    accept confident answers early use it. Run this after `collage export`, and `collage evaluate` after it.
    """
    from rich.console import Console
    from rich.table import Table

    from collage.cli._bars import progress_bars
    from collage.training import calibrate as fit
    from collage.zoo import load_model

    models = [load_model(name) for name in (single, *backup)]
    console = Console()
    with progress_bars(console) as told:
        found = fit(models[0], models[1:], dataset=dataset, told=told)
    table = Table(caption="On validation images. ECE: calibration error of the highest probability, 15 bins.")
    for heading in ("model", "images", "temperature", "ECE before", "ECE after", "as good as the single from"):
        table.add_column(heading, justify="left" if heading == "model" else "right", overflow="fold")
    for name, card in found.items():
        table.add_row(
            name,
            f"{card.split.images:,}",
            f"{card.temperature:.3f}",
            f"{card.ece_before:.2%}",
            f"{card.ece_after:.2%}",
            "" if card.confident is None else f"{card.confident:.2f}",
        )
    console.print(table)
