"""`collage evaluate SINGLE --backup B`: how often the models are right, and what their calls cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    single: str = typer.Argument(help="Name or path of the single."),
    backup: list[str] = typer.Option([], help="Name or path of a backup of it; may be given again."),
    dataset: str | None = typer.Option(None, help="A dataset with test images  [default: the single's own]"),
    out: Path | None = typer.Option(None, help="Folder for the results  [default: results/accuracy/<single>]"),
    limit: int | None = typer.Option(None, min=1, help="Use only so many test images."),
    update_cards: bool = typer.Option(False, "--update-cards", help="Write what was measured into the models' cards."),
) -> None:
    """Measure accuracy by tile and by fill, confusion, and cost, on test images.

    Writes tables, pictures, and one row an image: was the single right, was the backup, how sure were they.
    """
    from rich.console import Console

    from collage.cli._bars import progress_bars
    from collage.training import assess
    from collage.zoo import load_model

    model, backups = load_model(single), [load_model(name) for name in backup]
    folder = out or Path("results/accuracy") / model.card.name
    console = Console()
    with progress_bars(console) as told:
        for name in (model.card.name, *(found.card.name for found in backups)):
            told(name, 0.0)
        summary = assess(
            model,
            backups,
            folder,
            dataset=dataset,
            limit=limit,
            update_cards=update_cards,
            told=told,
        )
    console.print(_table(summary))
    console.print(f"{folder}: summary.json, and for each model outcomes, confusion and, for a collage, positions")


def _table(summary: dict[str, Any]) -> Any:
    """One column a model: it stays within a terminal's width."""
    from rich.table import Table

    models: dict[str, dict[str, Any]] = summary["models"]
    columns = [_column(row) for row in models.values()]
    count = next(iter(models.values()))["test_images"]
    table = Table(
        title=f"{summary['dataset']}, {count:,} test images",
        caption="Accuracy of a collage: mean over its tiles, all filled; of a parity, over the positions that may be"
        " missing. Time of a call: median of pairs, one thread.",
    )
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right", overflow="fold")
    for heading in columns[0]:
        if any(cells := [column[heading] for column in columns]):
            table.add_row(heading, *cells)
    return table


def _code(row: dict[str, Any]) -> str:
    return f"{row['code']} of {row['n']}" if row["n"] > 1 else str(row["code"])


def _column(row: dict[str, Any]) -> dict[str, str]:
    tiles, fills, ratio, time = row["per_position"], row["per_fill"], row.get("latency_ratio"), row.get("milliseconds")
    coding = row.get("microseconds")
    return {
        "role": f"{row['role']} {row['grid']}x{row['grid']}" if row["grid"] else _code(row),
        "accuracy": f"{row['accuracy']:.2%}",
        "points below the single": f"{row['points_below_single']:.2f}" if "points_below_single" in row else "",
        "same answer as the single": f"{row['agreement']:.2%}" if row["agreement"] is not None else "",
        "calibration error (ECE)": f"{row['ece']:.2%}",
        "worst and best position": f"{min(tiles):.2%} {max(tiles):.2%}" if tiles else "",
        "1 tile filled, all filled": f"{fills[0]:.2%} {fills[-1]:.2%}" if fills else "",
        "parameters": f"{row['params']:,}" if "params" in row else "?",
        "multiply-accumulates": f"{row['macs']:,}" if "macs" in row else "?",
        "over the single's": "" if row.get("macs_ratio") is None else f"{row['macs_ratio']:.3f}",
        "time over the single's": "" if ratio is None else f"{ratio['median']:.3f}",
        "its quartiles": "" if ratio is None else " to ".join(f"{share:.3f}" for share in ratio["quartiles"]),
        "milliseconds": "" if time is None else f"{time['backup']:.3f}",
        "microseconds to encode, decode": "" if coding is None else f"{coding['encode']:.0f} {coding['decode']:.0f}",
    }
