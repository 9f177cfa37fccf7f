"""`collage trust SINGLE --backup B`: how far an answer, and above all a tile's answer, can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trust")(trust)


def trust(
    single: str = typer.Argument(help="Name or path of the single."),
    backup: list[str] = typer.Option([], help="Name or path of a backup of it; may be given again."),
    dataset: str | None = typer.Option(None, help="A dataset with test images  [default: the single's own]"),
    strangers: str | None = typer.Option(
        None, help="A dataset of other classes  [default: CIFAR-10 for Fashion-MNIST, and the reverse]"
    ),
    out: Path | None = typer.Option(None, help="Folder for the results  [default: results/trust/<single>]"),
    limit: int | None = typer.Option(None, min=10, help="Use only so many test images of each dataset."),
    attacked: int = typer.Option(100, min=1, help="Tiles that hostile neighbours attack."),
    steps: int = typer.Option(40, min=1, help="Steps of each attack."),
    restarts: int = typer.Option(3, min=1, help="Attacks on each tile."),
) -> None:
    """Measure calibration, groups as they come, neighbours, tiles that show nothing, and images of no known class.

    On test images; temperatures and thresholds are those that `collage calibrate` wrote into the cards.
    """
    from rich.console import Console

    from collage.cli._bars import progress_bars
    from collage.trust import Attack, measure_trust
    from collage.zoo import load_model

    model, backups = load_model(single), [load_model(name) for name in backup]
    folder = out or Path("results/trust") / model.card.name
    console = Console()
    with progress_bars(console) as told:
        summary = measure_trust(
            model,
            backups,
            folder,
            dataset=dataset,
            strangers=strangers,
            limit=limit,
            attack=Attack(tiles=attacked, steps=steps, restarts=restarts),
            told=lambda name, part, share: told(f"{name}: {part}", share),
        )
    console.print(_table(summary))
    console.print(f"{folder}: summary.json, a CSV file for each part, reliability diagrams")


def _table(summary: dict[str, Any]) -> Any:
    """One column a model."""
    from rich.table import Table

    models: dict[str, dict[str, Any]] = summary["models"]
    columns = [_column(found) for found in models.values()]
    count = next(iter(models.values()))["test_images"]
    table = Table(title=f"{summary['dataset']}, {count:,} test images")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right", overflow="fold")
    for heading in dict.fromkeys(heading for column in columns for heading in column):
        table.add_row(heading, *(column.get(heading, "") for column in columns))
    return table


def _column(found: dict[str, Any]) -> dict[str, str]:
    calibration = found["calibration"]
    column = {
        "ECE without temperature": f"{calibration['ece_before']:.2%}",
        "ECE": f"{calibration['ece_after']:.2%}",
    }
    for row in found.get("strangers", []):
        column[f"AUROC, {row['strangers']}"] = f"{row['auroc']:.3f}"
    if "worst_group" in found:
        worst = found["worst_group"]
        column |= {
            "worst kind of group": worst["kind"],
            "its accuracy": f"{worst['accuracy']:.2%}",
            "of these images at random": f"{worst['same_images']:.2%}",
        }
    for row in found.get("neighbours", []):
        column[f"changed by {row['neighbours']}"] = f"{row['flips']:.1%}"
    for row in found["nothing"]:
        column[f"confident: {row['kind']}"] = f"{row['confident']:.1%}"
    return column
