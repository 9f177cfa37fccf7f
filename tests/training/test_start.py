"""A training that begins with what another one has learnt, and a single that learns from another single."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.exceptions import ModelError, SettingsError  # noqa: E402
from collage.training import export_model, run_training  # noqa: E402

pytestmark = pytest.mark.train


def weights(folder: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)["average"]
    return {name: value for name, value in saved.items() if "running" not in name and "num_batches" not in name}


def test_the_averaged_weights_are_taken_over(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    first = tmp_path / "first"
    shutil.copytree(tiny.single_run, first)
    # So slow that nothing is learnt in the one epoch.
    slow = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "start": str(first)}
    list(run_training(make_settings("single", train=slow), tmp_path / "second"))
    one, other = weights(first), weights(tmp_path / "second")
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)

    # What it began with is of no importance any more once it has begun.
    shutil.rmtree(first)
    assert list(run_training(make_settings("single", train=slow), tmp_path / "second")) == []


def test_what_it_cannot_begin_with_is_named(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"train.start: .*none holds no training"):
        next(run_training(make_settings("single", train={"start": str(tmp_path / "none")}), tmp_path / "run"))
    other = make_settings("cheap", train={"start": str(tiny.collage_run)})
    with pytest.raises(SettingsError, match=r"train.start: the net of .* is not this training's"):
        next(run_training(other, tmp_path / "run", single=tiny.single))


def test_a_single_may_learn_from_another(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    # No labels: all that it can know it has from its teacher.
    settings = make_settings("single", distill={"weight": 1.0, "views": 2}, train={"epochs": 8})
    done = list(run_training(settings, tmp_path, single=tiny.single))
    assert done[-1].best >= 0.8
    card = export_model(tmp_path, tmp_path).card
    assert card.single_sha256 is None, "it is nobody's backup"
    with pytest.raises(ModelError, match="learns from a single: name one"):
        next(run_training(settings, tmp_path / "alone"))


def test_a_single_without_distillation_takes_no_teacher(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"tiny-single has no \[distill\] table"):
        next(run_training(make_settings("single"), tmp_path, single=tiny.single))
