"""Experiment files: every mistake is named; options change what they say and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.exceptions import SettingsError
from collage.training import change_training, load_training

pytestmark = pytest.mark.train

EXPERIMENTS = sorted(path for path in Path("experiments").glob("*.toml") if "[model]" in path.read_text())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_shipped_experiments_are_sound(path: Path) -> None:
    settings = load_training(path)
    assert settings.model.name == path.stem
    assert f"collage train {settings.model.role.value} --config {path}" in path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("epochs = ", "epoch = ", "train.epoch"),
        ('role = "single"', 'role = "double"', "model.role"),
        ('role = "single"', 'role = "single"\ngrid = 3', "grid belongs to a collage"),
        ('role = "single"', 'role = "cheap"', "a backup needs a \\[distill\\] table"),
        ("batch = ", "batch = -", "train.batch"),
        ("[train]", "[train", "Expected"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = Path("experiments/fashion-mnist-single.toml").read_text()
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=named):
        load_training(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load_training(tmp_path / "none.toml")


def test_options_change_only_what_they_name(make_settings: Callable[..., Any]) -> None:
    settings = make_settings("single")
    assert change_training(settings) == settings
    changed = change_training(settings, seed=3, epochs=7, limit=40)
    assert (changed.train.seed, changed.train.epochs, changed.data.limit, changed.data.validation) == (3, 7, 40, 10)
    assert change_training(settings, limit=400).data.validation == 24
    assert changed.model == settings.model
