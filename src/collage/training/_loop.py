"""The training loop: one for every model, in one process or several.

It reads top to bottom, and resumes: after a stop at the step where it was, after a kill from its last epoch.
"""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from collage.exceptions import SettingsError
from collage.training._checkpoint import Place, claim, resume, save
from collage.training._device import CPU, as_graph, half_precision
from collage.training._memory import keep_memory
from collage.training._pace import make_pace
from collage.training._settings import TrainingSettings
from collage.training._share import WHOLE, Share
from collage.training._stop import Stop
from collage.training._team import ALONE, Team

_KEPT_EVERY = 5.0  # seconds on a GPU: what a kill costs at most


class Task(Protocol):
    """What is learnt: makes batches, says how wrong an output is, and scores a net on the validation images."""

    steps: int  # an epoch
    size: int  # inputs of a batch

    def batch(self, generator: torch.Generator, share: Share = WHOLE) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A share's part of the next batch, inputs (b, C, H, W), and the mean loss of the net's outputs for them."""

    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """Accuracy on the validation images, 0..1: the share's part of it, which all shares' add up to."""

    def state_dict(self) -> dict[str, Any]:
        """Where in an epoch it is, for a checkpoint within one."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From such a checkpoint."""


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


def train(
    net: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    *,
    device: torch.device = CPU,
    team: Team = ALONE,
    stop: Stop | None = None,
) -> Iterator[Progress]:
    """Train, yielding after each epoch; stop iterating to stop training. `folder` keeps settings, checkpoint and log.

    The same folder resumes where it stopped: optimiser, averaged weights and random draws as if it never had. Each
    process of a `team` iterates; a team has no GPU. Where `stop` has heard a signal, it ends after the step, with a
    checkpoint. Raises ProcessLost; SettingsError where the folder belongs to other settings, a batch has fewer inputs
    than processes, or a team is given a GPU. On a GPU dropout draws other numbers after a stop than it would have.
    """
    stop = stop or Stop()
    with team.watching(), stop.gently():
        yield from _train(net, task, settings, folder, device=device, team=team, stop=stop)


def _train(  # noqa: PLR0915 - the loop, in one piece
    net: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    *,
    device: torch.device,
    team: Team,
    stop: Stop,
) -> Iterator[Progress]:
    loop = settings.train
    keep_memory()
    if task.size < team.share.count:
        raise SettingsError(f"train.batch: {task.size} inputs are too few for {team.share.count} processes")
    if team.share.count > 1 and device != CPU:
        raise SettingsError("several processes learn on processors only: leave out --processes, or say --device cpu")
    claim(folder, settings, team)
    generator = torch.Generator().manual_seed(loop.seed)  # the same in every process
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model, scale, weight = team.around(net), team.loss_scale(task.size), team.share.weight(task.size)
    average = copy.deepcopy(net).eval()
    optimiser = torch.optim.SGD(_groups(net, loop.weight_decay), lr=loop.learning_rate, momentum=0.9, nesterov=True)
    pace = make_pace(loop, task.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace.rate)
    parts: dict[str, Any] = {
        "net": net, "average": average, "optimiser": optimiser, "schedule": schedule, "pace": pace, "task": task,
    }  # fmt: skip
    at = resume(folder / "checkpoint.pt", parts, generator, team)
    if device != CPU:
        model = as_graph(model, _example(task), bfloat16=loop.bfloat16)
    kept, fresh = _values(average), _values(net)
    written = 0.0

    while at.epoch < loop.epochs and pace.done() < 1:
        began = time.perf_counter()
        net.train()
        so_far = at.losses if team.first else 0.0
        losses = torch.tensor(so_far, dtype=torch.float64, device=device)  # read at the end: to read is to wait
        for step in range(at.step, task.steps):
            stepped = time.perf_counter()
            inputs, loss_of = task.batch(generator, team.share)
            with half_precision(device, enabled=loop.bfloat16):
                outputs = model(inputs.contiguous(memory_format=torch.channels_last))
            loss = loss_of(outputs.float())
            optimiser.zero_grad(set_to_none=True)
            (scale * loss).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            taken = time.perf_counter() - stepped if team.first else 0.0  # its clock is the team's
            taken, asked = team.sum(taken, float(stop.signal is not None))
            losses += weight * loss.detach()
            pace.spent(taken)
            schedule.step()
            count = at.epoch * task.steps + step + 1
            _average(kept, fresh, min(loop.ema, count / (count + 9)))
            at.step = step + 1
            if pace.done() >= 1:
                break
            if asked and at.step < task.steps:
                (at.losses,) = team.sum(losses.item())
                at.seconds += time.perf_counter() - began
                team.settle(net, average)
                save(folder / "checkpoint.pt", parts, generator, at, team)
                stop.stopped = True
                return
        steps, seconds, at = at.step, at.seconds, Place(at.epoch + 1, at.best)
        (loss_all,) = team.sum(losses.item())
        accuracy, note, stepped = None, "", time.perf_counter()
        team.settle(net, average)
        if at.epoch % loop.evaluate_every == 0 or at.epoch == loop.epochs or pace.done() >= 1:
            part = task.validate(average, team.share)
            taken = time.perf_counter() - stepped if team.first else 0.0
            accuracy, taken = team.sum(part, taken)
            at.best = max(at.best, accuracy)
            pace.spent(taken)
            note = pace.evaluated(accuracy)
        # On a GPU an epoch may take less time than to write down what it has learnt.
        due = device == CPU or at.epoch == loop.epochs or time.perf_counter() - written > _KEPT_EVERY
        if due:
            save(folder / "checkpoint.pt", parts, generator, at, team)
            written = time.perf_counter()
        progress = Progress(
            at.epoch, loop.epochs, loss_all / steps, accuracy, at.best, seconds + time.perf_counter() - began,
            float(schedule.get_last_lr()[0]), pace.done(), note,
        )  # fmt: skip
        if team.first:
            _log(folder / "log.csv", progress)
        yield progress
        (asked,) = team.sum(float(stop.signal is not None))
        if asked:
            if not due:
                save(folder / "checkpoint.pt", parts, generator, at, team)
            stop.stopped = at.epoch < loop.epochs and pace.done() < 1
            return


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: decaying norms and biases costs accuracy."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _average(kept: list[Tensor], fresh: list[Tensor], decay: float) -> None:
    """Exponential moving average, in place."""
    make: Callable[[float], Callable[..., None]] = get_ema_multi_avg_fn
    make(decay)(kept, fresh, None)


def _values(net: nn.Module) -> list[Tensor]:
    """All weights and statistics of a net; not how many batches it has seen, which nothing reads."""
    return [value for value in net.state_dict().values() if value.dtype.is_floating_point]


def _example(task: Task) -> Tensor:
    """Inputs as the task makes them, without a step of its way."""
    state = task.state_dict()
    inputs, _ = task.batch(torch.Generator())
    task.load_state_dict(state)
    return inputs.contiguous(memory_format=torch.channels_last)


def _log(path: Path, progress: Progress) -> None:
    fresh = not path.exists()
    row = {name: value for name, value in vars(progress).items() if name not in ("done", "note")}
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(row.keys())
        writer.writerow(row.values())
