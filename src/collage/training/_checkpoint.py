"""What a training keeps in its folder, so that it goes on where it was: with another number of processes too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from collage.exceptions import SettingsError
from collage.training._settings import TrainingSettings
from collage.training._team import Team


@dataclass
class Place:
    """How far a training has come: finished epochs, the best accuracy, and what has been done of the next epoch."""

    epoch: int = 0
    best: float = 0.0
    step: int = 0
    losses: float = 0.0  # the sum over those steps
    seconds: float = 0.0  # that they took


def claim(folder: Path, settings: TrainingSettings, team: Team) -> None:
    """Make the folder this training's. Raises SettingsError where it is another's, or not shared by all processes."""
    path = folder / "settings.json"
    with team.in_turn():
        team.must_see(path)
        # Read as settings, so that one which is new since then, and at its default, is no difference.
        if path.exists() and TrainingSettings.model_validate_json(path.read_text()) != settings:
            raise SettingsError(f"{folder} holds a training with other settings: give another folder or delete it")
        if team.first:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(settings.model_dump_json(indent=2))


def resume(path: Path, parts: Mapping[str, Any], generator: torch.Generator, team: Team) -> Place:
    """Load what is there into `parts`, by name, and `generator`; returns how far it had come."""
    seed = generator.initial_seed()
    if not path.exists():
        _reseed(seed, team)
        return Place()
    saved = torch.load(path, weights_only=True, map_location="cpu")
    for name, part in parts.items():
        if name in saved:
            part.load_state_dict(saved[name])
    generator.set_state(saved["generator"])
    # Dropout's. The number of processes may be another.
    states = [saved["torch"], *saved.get("torch_of_others", ())]
    if team.share.rank < len(states):
        # A copy, as torch reads a state from where its storage begins, which of a row is another's, or no state at all.
        torch.set_rng_state(states[team.share.rank].clone())
    else:
        _reseed(seed + int(saved["epoch"]), team)
    return Place(int(saved["epoch"]), float(saved["best"]), *saved.get("within", ()))


def _reseed(seed: int, team: Team) -> None:
    """Another dropout in every process; that of process 0 goes on as it is."""
    if not team.first:
        torch.manual_seed(seed + 1_000_003 * team.share.rank)


def save(path: Path, parts: Mapping[str, Any], generator: torch.Generator, at: Place, team: Team) -> None:
    """Write it, at once or not at all; called by every process, written by the first."""
    states = team.gather(torch.get_rng_state())
    if not team.first:
        return
    # At an epoch's border nothing of the task needs saving.
    saved: dict[str, Any] = {name: part.state_dict() for name, part in parts.items() if name != "task" or at.step}
    own, *others = (state.clone() for state in states)
    saved |= {"generator": generator.get_state(), "torch": own, "torch_of_others": others}
    saved |= {"epoch": at.epoch, "best": at.best, "within": (at.step, at.losses, at.seconds)}
    fresh = path.with_suffix(".tmp")
    torch.save(saved, fresh)
    os.replace(fresh, path)  # a kill between the two leaves the last good checkpoint


def averaged_weights(folder: Path, settings: TrainingSettings) -> dict[str, Tensor]:
    """What the training in `folder` has learnt so far, for another one to begin with.

    Raises SettingsError where there is none, or where its net is not that of `settings`.
    """
    if not (folder / "checkpoint.pt").exists():
        raise SettingsError(f"train.start: {folder} holds no training: run that one first")
    other = TrainingSettings.model_validate_json((folder / "settings.json").read_text())
    if other.model.net != settings.model.net:
        raise SettingsError(f"train.start: the net of {folder} is not this training's")
    return dict(torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")["average"])
