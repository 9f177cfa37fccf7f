"""A whole evaluation: a single and its backups on a dataset's test images, written to a folder and into the cards.

What has not changed since is not measured again: each model's numbers keep a fingerprint of all that they depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from collage.data import Dataset, PixelSet, load_pixels, open_dataset
from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.imaging import Preprocessing
from collage.training._evaluate import Answers, CollageReport, FloatArray, classify_images, score_images
from collage.training._evaluate_joint import code_times, evaluate_backup
from collage.training._report import (
    read_outcomes,
    update_card,
    write_confusion,
    write_outcomes,
    write_positions,
    write_summary,
)
from collage.training._timing import latency_ratio
from collage.zoo import Accuracy, LoadedModel, check_bound

Told = Callable[[str, float], None]
Numbers = dict[str, Any]

_METHOD = 1  # another number makes every kept one out of date


def assess(
    single: LoadedModel,
    backups: Sequence[LoadedModel],
    out: Path,
    *,
    dataset: str | None = None,
    limit: int | None = None,
    update_cards: bool = False,
    again: bool = False,
    beside: Sequence[LoadedModel] = (),
    told: Told = lambda model, share: None,
) -> dict[str, Any]:
    """Evaluate on the test images of `dataset` (default: the single card's); returns the summary that `out` then holds.

    Numbers in `out` of the same files, images and settings are kept, unless `again`. `told` hears which model is
    evaluated and its share done, 0..1. beside: further backups, whose numbers stay in the summary of `out` even when
    they are not given the next time, as long as the single is the same: what was trained for comparison only. Raises
    DataMissing, and ModelError for a backup of another single or a dataset of other classes.
    """
    for backup in (*backups, *beside):
        check_bound(single, backup)
    source = open_dataset(dataset or single.card.dataset)
    if source.classes != single.card.classes:
        raise ModelError(f"{single.card.name} knows other classes than {source.name}")
    out.mkdir(parents=True, exist_ok=True)
    earlier = _kept(out / "summary.json")
    evaluation = _Evaluation(single, out, source, limit, kept={} if again else earlier)
    for model in (single, *backups, *beside):
        evaluation.add(model, partial(told, model.card.name), only=model in beside)
        write_summary(out / "summary.json", evaluation.summary)  # what is done survives an interruption
        told(model.card.name, 1.0)
        if update_cards:
            _update_card(model, evaluation.summary["models"][model.card.name])
    for name, numbers in earlier.items():
        if name not in evaluation.summary["models"] and numbers.get("compared_with") == single.card.sha256:
            evaluation.summary["models"][name] = numbers
    write_summary(out / "summary.json", evaluation.summary)
    return evaluation.summary


class _Evaluation:
    """Models one after another, the single first; images are loaded when they are first needed."""

    def __init__(
        self, single: LoadedModel, out: Path, source: Dataset, limit: int | None, *, kept: dict[str, Numbers]
    ) -> None:
        self.summary: dict[str, Any] = {"dataset": source.name, "models": {}}
        self._single, self._out, self._source, self._limit, self._kept = single, out, source, limit, kept
        self._images: tuple[Preprocessing, PixelSet] | None = None
        self._base: Answers | None = None
        self._scores: FloatArray | None = None

    def add(self, model: LoadedModel, progress: Callable[[float], None], *, only: bool) -> None:
        """Evaluate `model`, or keep what is known of it. only: it is there for comparison only."""
        name, fingerprint = model.card.name, self._fingerprint(model)
        kept = self._kept.get(name, {})
        if kept.get("fingerprint") != fingerprint or not self._outcomes(model).is_file():
            kept = self._measure(model, progress) | {"fingerprint": fingerprint}
        kept = {key: value for key, value in kept.items() if key != "compared_with"}
        if only:
            kept["compared_with"] = self._single.card.sha256
        self.summary["models"][name] = kept

    def _measure(self, model: LoadedModel, progress: Callable[[float], None]) -> Numbers:
        card, images = model.card, self._load(model.card.preprocessing)
        if model is self._single:
            answers, report = classify_images(model, images), None
            self._base = answers
        else:
            answers, report = evaluate_backup(
                model, images, self._single, partial(self._single_scores, images), progress=progress
            )
        accuracy = Accuracy(test_images=len(images), accuracy=_short(answers.accuracy(images.labels)))
        write_outcomes(self._outcomes(model), images, answers)
        write_confusion(self._out / f"confusion-{card.name}", images, answers)
        if model is self._single:
            return _numbers(model, accuracy, answers.calibration_error(images.labels))
        a_a, base = self._single_answers(images)
        if report is not None:
            accuracy.accuracy = _short(report.accuracy)
            accuracy.per_position = [_short(share) for share in report.per_position]
        if isinstance(report, CollageReport):
            accuracy.per_fill = [_short(share) for share in report.per_fill]
            write_positions(self._out / f"positions-{card.name}.png", report, a_a, card.grid or card.capacity)
        accuracy.agreement = _short(float((answers.index == base.index).mean()))
        time = latency_ratio(model, self._single)
        coding = {"microseconds": code_times(model)._asdict()} if card.k and card.role is not Role.BATCH else {}
        return (
            _numbers(model, accuracy, answers.calibration_error(images.labels))
            | coding
            | {
                "points_below_single": _short(100 * (a_a - accuracy.accuracy)),
                "latency_ratio": {"median": _short(time.ratio), "quartiles": [_short(time.low), _short(time.high)]},
                "milliseconds": {"backup": _short(1e3 * time.seconds), "single": _short(1e3 * time.base_seconds)},
            }
        )

    def _single_answers(self, images: PixelSet) -> tuple[float, Answers]:
        """A_a and the single's answers: of this run, or, where they were kept, from the outcomes."""
        if self._base is None:
            self._base = read_outcomes(self._outcomes(self._single))[1]
        return _short(self._base.accuracy(images.labels)), self._base

    def _single_scores(self, images: PixelSet) -> FloatArray:
        """What the single says of the images, whose preprocessing is its own: (n, classes)."""
        if self._scores is None:
            self._scores = score_images(self._single, images)
        return self._scores

    def _load(self, preprocessing: Preprocessing) -> PixelSet:
        if self._images is None or self._images[0] != preprocessing:
            self._images = preprocessing, load_pixels(self._source, "test", preprocessing, limit=self._limit)
        return self._images[1]

    def _outcomes(self, model: LoadedModel) -> Path:
        return self._out / f"outcomes-{model.card.name}.csv.gz"

    def _fingerprint(self, model: LoadedModel) -> str:
        """Of the files, by their hashes, of how they are fed and read, and of the images."""
        said = {"accuracy", "command", "licence", "notes"}
        card = model.card.model_dump(mode="json", exclude=said, exclude_defaults=True)
        facts = [_METHOD, card | {"cost": self._counted(model)}, self._single.card.sha256, self._source.name]
        text = json.dumps([*facts, self._limit], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _counted(self, model: LoadedModel) -> Any:
        cost = model.card.cost
        return cost and cost.model_dump(exclude={"latency_ratio"})  # that one is measured here


def _kept(path: Path) -> dict[str, Numbers]:
    """The models' numbers in an earlier summary; none where it cannot be read."""
    try:
        models = json.loads(path.read_text())["models"]
        return models if isinstance(models, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _numbers(model: LoadedModel, accuracy: Accuracy, ece: float) -> Numbers:
    card = model.card
    cost = card.cost.model_dump(include={"macs", "params", "macs_ratio"}) if card.cost else {}
    facts = {"role": card.role.value, "code": card.code, "n": card.capacity, "grid": card.grid}
    return {**facts, **accuracy.model_dump(), "ece": _short(ece), **cost}


def _update_card(model: LoadedModel, numbers: Numbers) -> None:
    accuracy = Accuracy.model_validate({name: numbers[name] for name in Accuracy.model_fields})
    parts: dict[str, Any] = {"accuracy": accuracy}
    if "latency_ratio" in numbers and model.card.cost is not None:
        ratio = round(numbers["latency_ratio"]["median"], 3)
        parts["cost"] = model.card.cost.model_copy(update={"latency_ratio": ratio})
    update_card(model, **parts)


def _short(number: float) -> float:
    return round(number, 5)
