"""What a distilled collage-cnn is worth: numbers, pictures and a page of words, and the cards brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from collage.data import PixelSet
from collage.training._calibrate import confidences, validation_logits
from collage.training._calibration import BINS, calibration_error, confident_from, fit_temperature
from collage.training._evaluate import Answers, evaluate_collage
from collage.training._report import update_card, write_confusion, write_outcomes, write_positions, write_summary
from collage.training._samples import write_samples
from collage.training._timing import latency_ratio
from collage.zoo import Accuracy, Calibration, LoadedModel, Split, load_model

Told = Callable[[str, float], None]


class Seen(NamedTuple):
    """Images at the tile's size, and what the single says of them at its own: logits (n, classes)."""

    images: PixelSet  # labels: the folder's, or the single's answers
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def report_distilled(
    single: LoadedModel,
    model: LoadedModel,
    out: Path,
    *,
    validation: Seen,
    test: Seen,
    split: Split,
    labelled: bool,
    told: Told,
) -> dict[str, Any]:
    """Calibrate on validation images, measure on test images, write `out` and the cards; returns the summary."""
    out.mkdir(parents=True, exist_ok=True)
    calibrations = _calibrate(single, model, validation, split, single_too=labelled)
    if labelled and single.card.calibration is None:
        update_card(single, calibration=calibrations[0])
    update_card(model, calibration=calibrations[1])
    single, model = load_model(single.path), load_model(model.path)

    images, labels = test.images, test.images.labels
    own = Answers(
        test.logits.argmax(1).astype(np.int64), confidences(test.logits, single.card.temperature).astype(np.float32)
    )
    report = evaluate_collage(model, images, progress=lambda share: told("measuring", share))
    theirs, agreement = report.answers, float((report.answers.index == own.index).mean())
    time = latency_ratio(model, single)
    a_a = own.accuracy(labels) if labelled else None
    measured = Accuracy(
        test_images=len(images),
        against="labels" if labelled else "single",
        accuracy=_short(report.accuracy),
        per_position=[_short(share) for share in report.per_position],
        per_fill=[_short(share) for share in report.per_fill],
        agreement=_short(agreement),
        ece=_short(theirs.calibration_error(labels)),
    )
    if a_a is not None:
        ours = Accuracy(test_images=len(images), accuracy=_short(a_a), ece=_short(own.calibration_error(labels)))
        if single.card.accuracy is None:  # what is known of it already is not this training's to change
            update_card(single, accuracy=ours)
        write_outcomes(out / f"outcomes-{single.card.name}.csv.gz", images, own)
        write_confusion(out / f"confusion-{single.card.name}", images, own)
    cost = model.card.cost
    if cost is not None:
        cost = cost.model_copy(update={"latency_ratio": round(time.ratio, 3)})
    update_card(model, accuracy=measured, cost=cost)
    write_outcomes(out / f"outcomes-{model.card.name}.csv.gz", images, theirs)
    write_confusion(out / f"confusion-{model.card.name}", images, theirs)
    write_positions(out / f"positions-{model.card.name}.png", report, 1.0 if a_a is None else a_a, model.card.grid or 1)
    write_samples(out / f"samples-{model.card.name}.png", model, images)
    summary: dict[str, Any] = {
        "single": single.card.name,
        "collage": model.card.name,
        "grid": model.card.grid,
        "labels": labelled,
        "test_images": len(images),
        "a_a": None if a_a is None else _short(a_a),
        "a_d": measured.accuracy if labelled else None,
        "points_below_single": None if a_a is None else _short(100 * (a_a - report.accuracy)),
        "agreement": measured.agreement,
        "per_position": measured.per_position,
        "per_fill": measured.per_fill,
        "tile": model.card.preprocessing.size,
        "single_size": single.card.preprocessing.size,
        "macs": cost and cost.macs,
        "macs_ratio": cost and cost.macs_ratio,
        "params": cost and cost.params,
        "latency_ratio": {"median": _short(time.ratio), "quartiles": [_short(time.low), _short(time.high)]},
        "milliseconds": {"collage": _short(1e3 * time.seconds), "single": _short(1e3 * time.base_seconds)},
        "temperature": calibrations[1].temperature,
        "ece_before": calibrations[1].ece_before,
        "ece": measured.ece,
        "confident": calibrations[1].confident,
    }
    write_summary(out / "summary.json", summary)
    (out / "report.md").write_text(_page(summary))
    return summary


def _calibrate(
    single: LoadedModel, model: LoadedModel, validation: Seen, split: Split, *, single_too: bool
) -> tuple[Calibration, Calibration]:
    """Of the single and of the collage-cnn; without labels, by how often a tile says what the single does."""
    labels = validation.images.labels
    logits = validation_logits(model, validation.images, lambda share: None)  # (n, classes + 1)
    base_right = validation.logits.argmax(1) == labels
    found = []
    for rows, own in ((validation.logits, True), (logits, False)):
        temperature = 1.0 if own and not single_too else round(fit_temperature(rows, labels), 4)
        index = rows.argmax(1)
        right, known = index == labels, index < len(single.card.classes)
        before, after = confidences(rows, 1.0), confidences(rows, temperature)
        found.append(
            Calibration(
                temperature=temperature,
                dataset=model.card.dataset,
                split=split,
                bins=BINS,
                ece_before=_short(calibration_error(before[known], right[known])),
                ece_after=_short(calibration_error(after[known], right[known])),
                confident=None if own else confident_from(np.where(known, after, 0.0), right, base_right),
            )
        )
    return found[0], found[1]


def _page(summary: dict[str, Any]) -> str:
    """The summary in words, as Markdown."""
    tiles, fills, grid = summary["per_position"], summary["per_fill"], summary["grid"]
    ratio, time = summary["macs_ratio"], summary["latency_ratio"]
    rows = [
        ("the single, A_a", _percent(summary["a_a"])),
        ("the collage-cnn, A_d", _percent(summary["a_d"])),
        ("points below the single", "no labels" if summary["a_a"] is None else f"{summary['points_below_single']:.2f}"),
        ("same answer as the single", _percent(summary["agreement"])),
        ("worst and best tile", f"{min(tiles):.2%}, {max(tiles):.2%}"),
        ("one tile filled, all filled", f"{fills[0]:.2%}, {fills[-1]:.2%}"),
        ("multiply-accumulates over a single call", "not counted" if ratio is None else f"{ratio:.3f}"),
        ("measured time over a single call", f"{time['median']:.3f} (quartiles {time['quartiles'][0]:.3f} to"
                                             f" {time['quartiles'][1]:.3f})"),
        ("calibration error (ECE), before the temperature and with it",
         f"{summary['ece_before']:.2%} (validation), {summary['ece']:.2%} (test)"),
    ]  # fmt: skip
    of = "labels" if summary["labels"] else "the single's own answers, as there are no labels"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    by_tile = "\n".join(
        "| " + " | ".join(f"{share:.2%}" for share in tiles[row * grid : (row + 1) * grid]) + " |"
        for row in range(grid)
    )
    head = "|" + " |" * grid + "\n|" + "---|" * grid
    by_fill = ", ".join(f"{fill}: {share:.2%}" for fill, share in enumerate(fills, 1))
    name = summary["collage"]
    return (
        f"# {name}\n\nA {grid}x{grid} collage-cnn of `{summary['single']}`, measured on {summary['test_images']:,}"
        f" images that its training did not see, against {of}. Tiles have {summary['tile']} pixels a side, the"
        f" single's images {summary['single_size']}.\n\n| | |\n|---|---|\n{table}\n\n"
        f"## By tile, all filled\n\n{head}\n{by_tile}\n\n"
        f"## By number of filled tiles\n\n{by_fill}\n\n![by tile and by fill](positions-{name}.png)\n\n"
        f"## Collages with the answers drawn on\n\n![samples](samples-{name}.png)\n"
    )


def _percent(share: float | None) -> str:
    return "no labels" if share is None else f"{share:.2%}"


def _short(number: float) -> float:
    return round(number, 5)
