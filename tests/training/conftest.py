"""A tiny single and a 2 x 2 collage-cnn, trained on the patterns and exported: once a run, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # without torch, the tests are skipped by their own files
    from collage.training import TrainingSettings
    from collage.zoo import LoadedModel

NETS: dict[str, dict[str, Any]] = {
    "single": {"family": "residual", "stem": 8, "widths": [16], "blocks": [1]},
    "cheap": {"family": "residual", "stem": 4, "widths": [4], "blocks": [1]},
    "parity": {"family": "residual", "stem": 8, "widths": [16], "blocks": [1]},
    "learned": {"family": "learned", "encoder": "mlp", "width": 16, "hidden": 32},
    "collage": {"family": "collage", "stem": 8, "width": 16, "blocks": 1, "features": 32},
}
MakeSettings = Callable[..., "TrainingSettings"]


@dataclass(frozen=True)
class Tiny:
    """Folders of the two trainings, and what was exported from them."""

    single_run: Path
    collage_run: Path
    single: LoadedModel
    collage: LoadedModel


@pytest.fixture(scope="session")
def make_settings(patterns: Path) -> MakeSettings:
    """Settings of a tiny training on the patterns. Keywords change a section: make("single", train={"epochs": 9})."""
    from collage.training import TrainingSettings

    def make(role: str, **changes: dict[str, Any]) -> TrainingSettings:
        sections: dict[str, dict[str, Any]] = {
            "model": {"name": f"tiny-{role}", "role": role, "net": NETS[role]},
            "preprocessing": {"size": 16, "channels": 1, "mean": [0.4], "std": [0.3]},
            "data": {"dataset": str(patterns), "validation": 24},
            "augment": {"flip": True, "shift": 1, "erase": 0},
            "train": {"epochs": 4, "batch": 8, "ema": 0.9, "bfloat16": False},
        }
        if role == "collage":
            sections["model"]["grid"] = 2
            sections["train"] |= {"batch": 4, "epochs": 16}
        if role != "single":
            sections["distill"] = {"views": 2}
        for name, change in changes.items():
            sections[name] = sections.get(name, {}) | change
        return TrainingSettings.model_validate(sections)

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The same sums on every machine, and no quarrel about cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Trained on 120 images; 24 validate."""
    import torch

    from collage.training import export_model, run_training

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    for _ in run_training(make_settings("single"), folder / "single"):
        pass
    single = export_model(folder / "single", folder / "models")
    for _ in run_training(make_settings("collage"), folder / "collage", single=single):
        pass
    collage = export_model(folder / "collage", folder / "models", single=single)
    return Tiny(folder / "single", folder / "collage", single, collage)
