"""A whole evaluation: a single and its backups on a dataset's test images, written to a folder and into the cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from collage.data import load_pixels, open_dataset
from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.training._evaluate import classify_images, evaluate_collage
from collage.training._report import update_card, write_confusion, write_outcomes, write_positions, write_summary
from collage.training._timing import latency_ratio
from collage.zoo import Accuracy, LoadedModel, check_bound

Told = Callable[[str, float], None]


def assess(
    single: LoadedModel,
    backups: Sequence[LoadedModel],
    out: Path,
    *,
    dataset: str | None = None,
    limit: int | None = None,
    update_cards: bool = False,
    told: Told = lambda model, share: None,
) -> dict[str, Any]:
    """Evaluate on the test images of `dataset` (default: the single card's); returns the summary that `out` then holds.

    `told` hears which model is evaluated and its share done, 0..1. Raises DataMissing, and ModelError for a backup of
    another single or a dataset of other classes.
    """
    for backup in backups:
        check_bound(single, backup)
    source = open_dataset(dataset or single.card.dataset)
    if source.classes != single.card.classes:
        raise ModelError(f"{single.card.name} knows other classes than {source.name}")
    images = load_pixels(source, "test", single.card.preprocessing, limit=limit)
    out.mkdir(parents=True, exist_ok=True)
    name, labels = single.card.name, images.labels
    answers = classify_images(single, images)
    told(name, 1.0)
    accuracy = Accuracy(test_images=len(images), accuracy=_short(answers.accuracy(labels)))
    write_outcomes(out / f"outcomes-{name}.csv", images, answers)
    write_confusion(out / f"confusion-{name}", images, answers)
    summary: dict[str, Any] = {"dataset": source.name, "models": {name: _numbers(single, accuracy)}}
    if update_cards:
        update_card(single, accuracy=accuracy)
    for backup in backups:
        card, a_a = backup.card, accuracy.accuracy
        if card.preprocessing != single.card.preprocessing:
            images = load_pixels(source, "test", card.preprocessing, limit=limit)
        if card.role is Role.COLLAGE:
            found = evaluate_collage(backup, images, progress=partial(told, card.name))
            theirs = found.answers
            write_positions(out / f"positions-{card.name}.png", found, a_a, card.grid or 1)
            measured = Accuracy(
                test_images=len(images),
                accuracy=_short(found.accuracy),
                per_position=[_short(share) for share in found.per_position],
                per_fill=[_short(share) for share in found.per_fill],
            )
        else:
            theirs = classify_images(backup, images)
            measured = Accuracy(test_images=len(images), accuracy=_short(theirs.accuracy(labels)))
        told(card.name, 1.0)
        measured.agreement = _short(float((theirs.index == answers.index).mean()))
        write_outcomes(out / f"outcomes-{card.name}.csv", images, answers, theirs)
        write_confusion(out / f"confusion-{card.name}", images, theirs)
        time = latency_ratio(backup, single)
        if update_cards:
            cost = card.cost and card.cost.model_copy(update={"latency_ratio": round(time.ratio, 3)})
            update_card(backup, accuracy=measured, cost=cost)
        summary["models"][card.name] = _numbers(backup, measured) | {
            "points_below_single": _short(100 * (a_a - measured.accuracy)),
            "latency_ratio": {"median": _short(time.ratio), "quartiles": [_short(time.low), _short(time.high)]},
            "milliseconds": {"backup": _short(1e3 * time.seconds), "single": _short(1e3 * time.base_seconds)},
        }
    write_summary(out / "summary.json", summary)
    return summary


def _numbers(model: LoadedModel, accuracy: Accuracy) -> dict[str, Any]:
    card = model.card
    cost = card.cost.model_dump(include={"macs", "params", "macs_ratio"}) if card.cost else {}
    return {"role": card.role.value, "grid": card.grid, **accuracy.model_dump(), **cost}


def _short(number: float) -> float:
    return round(number, 5)
