"""`collage models`: the shipped models, and what their cards say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collage.zoo import LoadedModel


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models() -> None:
    """List the shipped models: what they are, how good, and at what cost."""
    from rich.console import Console
    from rich.table import Table

    from collage.zoo import list_models

    found = list_models()
    names = {model.card.sha256: model.card.name for model in found}
    console = Console()
    if not found:
        console.print("No models are shipped with this copy. 'collage train' makes them.")
        return
    table = Table(caption="MACs and latency: one call over one call of the single. Accuracy: on the test images.")
    for heading in ("name", "role", "accuracy", "MACs", "latency", "size"):
        table.add_column(heading, justify="left" if heading in ("name", "role") else "right", no_wrap=True)
    for model in found:
        table.add_row(*_row(model))
    console.print(table)
    for model in found:
        console.print(_facts(model, names), highlight=False, soft_wrap=True)


def _row(model: LoadedModel) -> list[str]:
    card = model.card
    return [
        card.name,
        f"{card.role.value} {card.grid}x{card.grid}" if card.grid else card.role.value,
        f"{card.accuracy.accuracy:.2%}" if card.accuracy else "?",
        _times(card.cost.macs_ratio if card.cost else None),
        _times(card.cost.latency_ratio if card.cost else None),
        f"{model.path.stat().st_size / 1e6:.2f} MB",
    ]


def _facts(model: LoadedModel, names: dict[str, str]) -> str:
    """One line: what a table has no room for."""
    card = model.card
    facts = [f"{len(card.classes)} classes of {card.dataset or 'an unnamed dataset'}"]
    if card.single_sha256 is not None:
        facts.append(f"backup of {names.get(card.single_sha256, card.single_sha256[:12])}")
    facts += [f"sha256 {card.sha256[:12]}", f"licence: {card.licence or '?'}"]
    return f"{card.name}: {', '.join(facts)}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"
