"""The training loop: one for every model. It reads top to bottom, and resumes from its last epoch after a kill."""

from __future__ import annotations

import copy
import csv
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from collage.exceptions import SettingsError
from collage.training._memory import keep_memory
from collage.training._pace import make_pace
from collage.training._settings import TrainingSettings


class Task(Protocol):
    """What is learnt: makes batches, says how wrong an output is, and scores a net on the validation images."""

    steps: int  # an epoch

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Inputs (B, C, H, W), and the loss of the net's outputs for them."""

    def validate(self, net: nn.Module) -> float:
        """Accuracy on the validation images, 0..1."""


@dataclass(frozen=True)
class Progress:
    """One finished epoch."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None  # of the averaged weights on the validation images; None where not evaluated
    best: float
    seconds: float  # of this epoch
    learning_rate: float
    done: float = 0.0  # how far the training has come, 0..1
    note: str = ""  # what a reader should know: that it has stopped gaining


def train(net: nn.Module, task: Task, settings: TrainingSettings, folder: Path) -> Iterator[Progress]:
    """Train, yielding after each epoch; stop iterating to stop training. `folder` keeps settings, checkpoint and log.

    The same folder resumes where it stopped: optimiser, averaged weights and random draws as if it never had. Raises
    SettingsError where the folder belongs to other settings.
    """
    loop = settings.train
    keep_memory()
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, settings)
    generator = torch.Generator().manual_seed(loop.seed)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(net).eval()
    optimiser = torch.optim.SGD(_groups(net, loop.weight_decay), lr=loop.learning_rate, momentum=0.9, nesterov=True)
    pace = make_pace(loop, task.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace.rate)
    parts: dict[str, Any] = {
        "net": net, "average": average, "optimiser": optimiser, "schedule": schedule, "pace": pace,
    }  # fmt: skip
    epoch, best = _resume(folder / "checkpoint.pt", parts, generator)

    while epoch < loop.epochs and pace.done() < 1:
        began, losses, taken = time.perf_counter(), 0.0, 0
        net.train()
        for step in range(task.steps):
            stepped = time.perf_counter()
            inputs, loss_of = task.batch(generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=loop.bfloat16):
                outputs = net(inputs.contiguous(memory_format=torch.channels_last))
            loss = loss_of(outputs.float())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.spent(time.perf_counter() - stepped)
            schedule.step()
            _average(average, net, min(loop.ema, (epoch * task.steps + step + 1) / (epoch * task.steps + step + 10)))
            losses, taken = losses + loss.item(), step + 1
            if pace.done() >= 1:
                break
        epoch += 1
        accuracy, note, stepped = None, "", time.perf_counter()
        if epoch % loop.evaluate_every == 0 or epoch == loop.epochs or pace.done() >= 1:
            accuracy = task.validate(average)
            best = max(best, accuracy)
            pace.spent(time.perf_counter() - stepped)
            note = pace.evaluated(accuracy)
        _save(folder / "checkpoint.pt", parts, generator, epoch, best)
        progress = Progress(
            epoch, loop.epochs, losses / taken, accuracy, best, time.perf_counter() - began,
            float(schedule.get_last_lr()[0]), pace.done(), note,
        )  # fmt: skip
        _log(folder / "log.csv", progress)
        yield progress


def averaged_weights(folder: Path, settings: TrainingSettings) -> dict[str, Tensor]:
    """What the training in `folder` has learnt so far, for another one to begin with.

    Raises SettingsError where there is none, or where its net is not that of `settings`.
    """
    if not (folder / "checkpoint.pt").exists():
        raise SettingsError(f"train.start: {folder} holds no training: run that one first")
    other = TrainingSettings.model_validate_json((folder / "settings.json").read_text())
    if other.model.net != settings.model.net:
        raise SettingsError(f"train.start: the net of {folder} is not this training's")
    return dict(torch.load(folder / "checkpoint.pt", weights_only=True)["average"])


def _claim(folder: Path, settings: TrainingSettings) -> None:
    path = folder / "settings.json"
    # Read as settings, so that one which is new since then, and at its default, is no difference.
    if path.exists() and TrainingSettings.model_validate_json(path.read_text()) != settings:
        raise SettingsError(f"{folder} holds a training with other settings: give another folder or delete it")
    path.write_text(settings.model_dump_json(indent=2))


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: decaying norms and biases costs accuracy."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


@torch.no_grad()
def _average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and statistics, in place."""
    for kept, fresh in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(fresh, 1 - decay)
        else:
            kept.copy_(fresh)


def _resume(path: Path, parts: dict[str, Any], generator: torch.Generator) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        if name in saved:
            part.load_state_dict(saved[name])
    generator.set_state(saved["generator"])
    torch.set_rng_state(saved["torch"])  # dropout's
    return int(saved["epoch"]), float(saved["best"])


def _save(path: Path, parts: dict[str, Any], generator: torch.Generator, epoch: int, best: float) -> None:
    saved: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    saved |= {"generator": generator.get_state(), "torch": torch.get_rng_state(), "epoch": epoch, "best": best}
    fresh = path.with_suffix(".tmp")
    torch.save(saved, fresh)
    os.replace(fresh, path)  # a kill between the two leaves the last good checkpoint


def _log(path: Path, progress: Progress) -> None:
    fresh = not path.exists()
    row = {name: value for name, value in vars(progress).items() if name not in ("done", "note")}
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(row.keys())
        writer.writerow(row.values())
