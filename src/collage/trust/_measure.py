"""All of it for a single and its backups, on test images, into one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collage.data import PixelSet, load_pixels, open_dataset
from collage.exceptions import DataMissing, ModelError
from collage.imaging import Preprocessing
from collage.training import (
    calibration_error,
    confidences,
    deal_tiles,
    log_scores,
    net_from_model,
    reliability,
    reliances,
)
from collage.trust._ask import Asker, Told
from collage.trust._attack import Attack, attack_neighbours
from collage.trust._groups import measure_groups, worst_row
from collage.trust._neighbours import NeighbourRow, compare, measure_neighbours, set_scene
from collage.trust._nothing import measure_nothing
from collage.trust._report import write_folder
from collage.trust._strangers import measure_strangers
from collage.zoo import LoadedModel, check_bound

_OTHER = {"fashion-mnist": "cifar-10", "cifar-10": "fashion-mnist"}
_WATCHED = 500  # tiles whose neighbours change, and tiles that show nothing


def measure_trust(
    single: LoadedModel,
    backups: Sequence[LoadedModel],
    out: Path,
    *,
    dataset: str | None = None,
    strangers: str | None = None,
    limit: int | None = None,
    attack: Attack | None = None,
    told: Callable[[str, str, float], None] = lambda model, part, share: None,
) -> dict[str, Any]:
    """Measure on the test images of `dataset` (default: the single card's); returns the summary that `out` then holds.

    strangers: a dataset of other classes, by default CIFAR-10 for Fashion-MNIST and the reverse; absent where that is
    not here. limit: so many images of each. `told` hears which model, which part, and its share done, 0..1. Raises
    DataMissing; ModelError for a backup of another single, a parity, or a dataset of other classes.
    """
    for backup in backups:
        check_bound(single, backup)
    source = open_dataset(dataset or single.card.dataset)
    if source.classes != single.card.classes:
        raise ModelError(f"{single.card.name} knows other classes than {source.name}")
    out.mkdir(parents=True, exist_ok=True)
    data = _Data(source.name if dataset is None else dataset, strangers or _OTHER.get(source.name), limit)
    if strangers is not None:
        data.strangers(single.card.preprocessing)  # what was asked for must be there
    summary: dict[str, Any] = {"dataset": source.name, "models": {}}
    single_right: NDArray[np.bool_] | None = None
    for model in (single, *backups):
        found, right = _measure(model, data, single_right, attack or Attack(), partial(told, model.card.name))
        if model is single:
            single_right = right
        summary["models"][model.card.name] = found
        write_folder(out, summary)  # what is done survives an interruption
    return summary


class _Data:
    """Test images and strangers, decoded once for each preprocessing."""

    def __init__(self, dataset: str, strangers: str | None, limit: int | None) -> None:
        self.other = strangers
        self._dataset, self._limit = dataset, limit
        self._kept: dict[tuple[str, Preprocessing], PixelSet] = {}

    def images(self, preprocessing: Preprocessing) -> PixelSet:
        return self._load(self._dataset, preprocessing)

    def strangers(self, preprocessing: Preprocessing) -> PixelSet | None:
        return None if self.other is None else self._load(self.other, preprocessing)

    def _load(self, name: str, preprocessing: Preprocessing) -> PixelSet:
        if (name, preprocessing) not in self._kept:
            source = open_dataset(name)
            self._kept[name, preprocessing] = load_pixels(source, "test", preprocessing, limit=self._limit)
        return self._kept[name, preprocessing]


def _measure(
    model: LoadedModel,
    data: _Data,
    single_right: NDArray[np.bool_] | None,
    attack: Attack,
    told: Callable[[str, float], None],
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """What the summary says of one model, and which images it had right (n,)."""
    card, asker, images = model.card, Asker(model), data.images(model.card.preprocessing)
    count = min(_WATCHED, len(images))
    logits = _logits(asker, images, partial(told, "calibration"))
    index = logits.argmax(1)
    right, known = index == images.labels, index < len(card.classes)
    before, after = confidences(logits, 1.0), confidences(logits, card.temperature)
    found: dict[str, Any] = {
        "role": card.role.value,
        "grid": card.grid,
        "isolated": card.isolated,
        "test_images": len(images),
        "calibration": {
            "temperature": card.temperature,
            "ece_before": calibration_error(before[known], right[known]),
            "ece_after": calibration_error(after[known], right[known]),
            "reliability_before": [column.tolist() for column in reliability(before[known], right[known])],
            "reliability_after": [column.tolist() for column in reliability(after[known], right[known])],
        },
        "reliance": [
            row._asdict()
            for row in reliances(np.where(known, after, 0.0), right, right if single_right is None else single_right)
        ],
        "nothing": measure_nothing(asker, images, count, partial(told, "tiles that show nothing")),
    }
    try:
        strangers = data.strangers(card.preprocessing)
    except DataMissing:
        strangers = None
    if strangers is not None:
        name = open_dataset(data.other or "").name
        found["strangers"] = [measure_strangers(asker, images, strangers, name, partial(told, "strangers"))]
    if asker.tiles > 1:
        found["groups"] = measure_groups(asker, images, partial(told, "groups"))
        found["worst_group"] = worst_row(found["groups"])
        scene = set_scene(asker, images, count)
        found["neighbours"] = measure_neighbours(asker, images, scene, partial(told, "neighbours"))
        hostile = _hostile(model, asker, images, attack, partial(told, "hostile neighbours"))
        if hostile is not None:
            found["neighbours"].append(hostile)
        found["attack"] = attack.model_dump() if hostile is not None else None
    return found, right


def _hostile(model: LoadedModel, asker: Asker, images: PixelSet, attack: Attack, told: Told) -> NeighbourRow | None:
    """The attack's row, judged on the model's own file; None for a model without a net to take gradients of."""
    if model.card.net is None or model.card.grid is None:  # in a batch, images share nothing but the call
        return None
    net = net_from_model(model)
    scene = set_scene(asker, images, attack.tiles)
    groups = attack_neighbours(
        net, model.card.preprocessing, scene["groups"], scene["watched"], attack=attack, told=told
    )
    return compare(asker, images, scene, "hostile", groups)


def _logits(asker: Asker, images: PixelSet, told: Told) -> NDArray[np.float32]:
    """Columns as logits (n, K), of a collage at some tile of a full one."""
    groups = deal_tiles(len(images), asker.tiles)
    columns = asker.columns([[images.pixels[i] for i in group] for group in groups], told)  # (m, N, K)
    found = np.empty((len(images), columns.shape[2]), np.float32)
    found[groups.ravel()] = columns.reshape(-1, columns.shape[2])
    return log_scores(found, asker.card.output)
