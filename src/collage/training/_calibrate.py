"""Fits the temperature of a single and its backups, and from where on a backup is as good as the single.

On validation images alone: those that the trainings kept out. Test images are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from collage.data import PixelSet, load_pixels, open_dataset, split_validation
from collage.exceptions import ModelError
from collage.training._calibration import BINS, calibration_error, confident_from, fit_temperature
from collage.training._evaluate import score_images
from collage.training._report import update_card
from collage.training._scores import Caller, deal_tiles, read_columns, read_joint
from collage.zoo import Calibration, LoadedModel, Split, check_bound


def calibrate(
    single: LoadedModel,
    backups: Sequence[LoadedModel] = (),
    *,
    dataset: str | None = None,
    told: Callable[[str, float], None] = lambda model, share: None,
) -> dict[str, Calibration]:
    """Calibrations by model name; each card is rewritten with its own.

    `dataset`: what the models were trained on, by default as the single's card names it; a folder has to be given.
    Collages are full, every image at one tile; in groups of a parity or a learned code, each image is missing once.
    `told` hears which model is at work and its share done, 0..1. Raises DataMissing; ModelError for a backup of another
    single, a card that does not say which images were kept out, or a backup that kept out others than its single.
    """
    for backup in backups:
        check_bound(single, backup)
    kept: dict[str, PixelSet] = {}
    found: dict[str, Calibration] = {}
    single_right: NDArray[np.bool_] = np.zeros(0, bool)
    for model in (single, *backups):
        card, split = model.card, _split(model, single, backups)
        key = card.preprocessing.model_dump_json()
        if key not in kept:
            kept[key] = load_validation(model, split, dataset or single.card.dataset)
        images = kept[key]
        if card.joint:
            logits = read_joint(model, single, images, score_images(single, images), partial(told, card.name))
        else:
            logits = validation_logits(model, images, partial(told, card.name))  # (n, K)
        temperature = round(fit_temperature(logits, images.labels), 4)
        before, after = confidences(logits, 1.0), confidences(logits, temperature)
        index = logits.argmax(1)
        right, known = index == images.labels, index < len(card.classes)
        if model is single:
            single_right = right
        found[card.name] = Calibration(
            temperature=temperature,
            dataset=card.dataset,
            split=split,
            bins=BINS,
            ece_before=round(calibration_error(before[known], right[known]), 5),
            ece_after=round(calibration_error(after[known], right[known]), 5),
            confident=None if model is single else confident_from(np.where(known, after, 0.0), right, single_right),
        )
        update_card(model, calibration=found[card.name])
        told(card.name, 1.0)
    return found


def load_validation(model: LoadedModel, split: Split, dataset: str) -> PixelSet:
    """The images that a model's training kept out. Raises DataMissing; ModelError for a dataset of other classes."""
    source = open_dataset(dataset)
    if source.classes != model.card.classes:
        raise ModelError(f"{model.card.name} knows other classes than {source.name}")
    images = load_pixels(source, "train", model.card.preprocessing, limit=split.limit)
    return split_validation(images, split.images, split.seed)[1]


def validation_logits(model: LoadedModel, images: PixelSet, told: Callable[[float], None]) -> NDArray[np.float32]:
    """Columns (n, K) for each image, as logits; of a collage, at some tile of a full collage."""
    caller = Caller(model)
    return read_columns(caller, images, deal_tiles(len(images), caller.tiles), told)


def confidences(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """The highest probability of each row (n, K), at a temperature: (n,)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    best: NDArray[np.float64] = powers.max(1) / powers.sum(1)
    return best


def _split(model: LoadedModel, single: LoadedModel, backups: Sequence[LoadedModel]) -> Split:
    own, theirs = model.card.split, single.card.split
    if own is not None and theirs is not None and own != theirs:
        raise ModelError(
            f"{model.card.name}: kept other images out of its training than {single.card.name}:"
            " train it with the same [data] validation, split_seed and limit"
        )
    # A single from elsewhere has no split; what its backups kept out is at least new to them.
    split = own or theirs or next((backup.card.split for backup in backups if backup.card.split), None)
    if split is None:
        raise ModelError(f"{model.card.name}: its card does not say which images its training kept out (split)")
    return split
