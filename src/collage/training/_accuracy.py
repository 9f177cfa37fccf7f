"""Every single of a zoo and all backups bound to it: one list of rows, remade by one command.

Models may be put beside the shipped ones for comparison: their rows stay, though only who has them can remake them.

What one model was worth is evaluated as `assess` does; here it is put side by side. Further seeds of a model are
trained from the same experiment file but not shipped: their accuracies are kept in a file of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from collage.data import load_pixels, open_dataset
from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.training._accuracy_plots import plot_by_n, plot_frontier
from collage.training._assess import Told, assess
from collage.training._evaluate import score_images
from collage.training._evaluate_joint import evaluate_backup
from collage.zoo import LoadedModel


class AccuracyRow(TypedDict):
    """One model. Accuracies, ratios and shares are fractions; None where it makes no sense or was not measured."""

    dataset: str
    model: str
    code: str
    n: int  # images that one call protects
    grid: int | None
    a_a: float  # of the single that it belongs to
    a_d: float | None
    a_d_std: float | None  # over seeds, the shipped one among them
    macs: int | None  # of one call, whatever it protects
    macs_ratio: float | None  # over one call of the single
    latency_ratio: float | None  # the same, measured
    params: int | None
    ece: float
    agreement: float | None
    test_images: int
    seed_count: int
    a_d_seeds: list[float]
    shipped: bool  # or only put beside the shipped ones, for comparison


def measure_accuracy(
    models: Sequence[LoadedModel],
    out: Path,
    *,
    seeds: Sequence[LoadedModel] = (),
    beside: Sequence[LoadedModel] = (),
    dataset: str | None = None,
    limit: int | None = None,
    again: bool = False,
    told: Told = lambda model, share: None,
) -> list[AccuracyRow]:
    """Evaluate all singles of `models` and their backups; writes `out/accuracy.json` and `out/accuracy/<single>/`.

    Only what has changed since the last time is measured, unless `again`. seeds: other trainings of backups of the same
    names, which are measured once and remembered in `out/accuracy/<single>/seeds.json`. beside: backups that are not
    shipped; their rows stay as long as the single is the same. dataset: by default each
    single's own. Raises DataMissing, and ModelError where there is no single, or a seed belongs to none of them.
    """
    singles = [model for model in models if model.card.role is Role.SINGLE]
    if not singles:
        raise ModelError("no single among these models: there is nothing to compare backups with")
    names = {model.card.name for model in models if model.card.role is not Role.SINGLE}
    for seed in seeds:
        if seed.card.name not in names or not any(_bound(single, seed) for single in singles):
            raise ModelError(f"{seed.path}: no model of this name, made for the same single, is among the others")
    rows: list[AccuracyRow] = []
    for single in singles:
        folder = out / "accuracy" / single.card.name
        backups = [model for model in models if _bound(single, model)]
        shipped = {model.card.name: model.card.sha256 for model in (single, *backups)}
        others = [model for model in beside if _bound(single, model) and model.card.name not in shipped]
        summary = assess(single, backups, folder, beside=others, dataset=dataset, limit=limit, again=again, told=told)
        ours = [seed for seed in seeds if _bound(single, seed)]
        found = _seeds(single, ours, folder / "seeds.json", dataset=dataset, limit=limit, again=again, told=told)
        table = [_row(summary, single, name, found.get(name, {}), shipped.get(name)) for name in summary["models"]]
        plot_frontier(table, folder / "frontier.png")
        plot_by_n(table, folder / "by-n.png")
        rows += table
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        (out / "accuracy.json").write_text(f"[\n{lines}\n]\n")
    return rows


def _bound(single: LoadedModel, backup: LoadedModel) -> bool:
    return backup.card.single_sha256 == single.card.sha256


def _row(
    summary: dict[str, Any], single: LoadedModel, name: str, seeds: dict[str, Any], shipped: str | None
) -> AccuracyRow:
    """shipped: the model's hash, None where it is only there for comparison."""
    numbers, base = summary["models"][name], summary["models"][single.card.name]
    alone = name == single.card.name
    others = [
        float(seed["a_d"])
        for sha256, seed in sorted(seeds.items())
        if sha256 != shipped and seed["single"] == single.card.sha256 and seed["test_images"] == numbers["test_images"]
    ]
    each = [] if alone else [numbers["accuracy"], *others]
    return {
        "dataset": summary["dataset"],
        "model": name,
        "code": numbers["code"],
        "n": numbers["n"],
        "grid": numbers["grid"],
        "a_a": base["accuracy"],
        "a_d": None if alone else numbers["accuracy"],
        "a_d_std": round(float(np.std(each, ddof=1)), 5) if len(each) > 1 else None,
        "macs": numbers.get("macs"),
        "macs_ratio": 1.0 if alone else numbers.get("macs_ratio"),
        "latency_ratio": 1.0 if alone else numbers["latency_ratio"]["median"],
        "params": numbers.get("params"),
        "ece": numbers["ece"],
        "agreement": numbers["agreement"],
        "test_images": numbers["test_images"],
        "seed_count": max(1, len(each)),
        "a_d_seeds": each,
        "shipped": shipped is not None,
    }


def _seeds(
    single: LoadedModel,
    seeds: Sequence[LoadedModel],
    path: Path,
    *,
    dataset: str | None,
    limit: int | None,
    again: bool,
    told: Callable[[str, float], None],
) -> dict[str, dict[str, Any]]:
    """By model name, by the seed's hash: its A_d, on how many test images, and its single's hash."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    source = open_dataset(dataset or single.card.dataset)
    for seed in seeds:
        known, name = found.setdefault(seed.card.name, {}), f"{seed.card.name}, {seed.path.parent.name}"
        expected = min(source.count("test"), limit or source.count("test"))
        if again or known.get(seed.card.sha256, {}).get("test_images") != expected:
            images = load_pixels(source, "test", seed.card.preprocessing, limit=limit)
            answers, report = evaluate_backup(
                seed, images, single, partial(score_images, single, images), progress=partial(told, name)
            )
            a_d = answers.accuracy(images.labels) if report is None else report.accuracy
            known[seed.card.sha256] = {
                "a_d": round(a_d, 5),
                "test_images": len(images),
                "single": single.card.sha256,
            }
            path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
        told(name, 1.0)
    return found
