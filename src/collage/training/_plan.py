"""What a distillation is asked for, and what is decided at its start: how much to ask, which net, how long."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from collage.dispatch import Role
from collage.exceptions import SettingsError
from collage.training._ask import Pictures, time_single
from collage.training._choose import Choice, choose_nets
from collage.training._graph_cost import count_graph
from collage.training._run import make_net
from collage.training._settings import (
    AugmentSettings,
    DataSettings,
    DistillSettings,
    LoopSettings,
    ModelSettings,
    TrainingSettings,
)
from collage.zoo import LoadedModel

Say = Callable[[str], None]

_VIEWS = 4  # of an image, that the single answers where there is time
_ASKING = 0.4  # share of the time that asking the single may take
_TILES = 252  # a step of training
_EVALUATIONS = 40  # in the whole time
_FEWEST = 20  # steps between two of them
_TILES_SEEN = 600_000  # a net too dear to be shown so many tiles in the time is too dear
_PACES = {  # learning rate, weight decay, averaging: what has served these nets well
    "residual": (0.1, 2e-4, 0.998),
    "whitened": (0.25, 5e-4, 0.995),
}
_UNCOUNTED = 50_000_000  # multiply-accumulates: the budget where the single's graph has none that can be counted


class DistillRequest(BaseModel):
    """What is wanted. Two calls with the same request and folder are one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    images: Path
    labels: bool
    grid: int = Field(ge=2, le=5)
    minutes: float = Field(gt=0)
    cost: float = Field(default=1.0, gt=0, description="most multiply-accumulates of a call, over the single's")
    tile: int | None = Field(default=None, ge=4, le=1024, description="side, pixels; None: by the single's size")
    limit: int | None = Field(default=None, ge=4, description="use only so many training images")
    flip: bool = True
    epochs: int = Field(default=1000, ge=1, description="evaluations, at most")
    give_up: int = Field(default=8, ge=1, description="evaluations without a gain, after which it comes to its end")
    seed: int = 0


class DistillPlan(BaseModel):
    """What was decided at the start; kept, so that a resumed run does not decide anew."""

    model_config = ConfigDict(extra="forbid")

    request: DistillRequest
    single: str = Field(description="hash")
    settings: TrainingSettings
    seconds_a_step: float
    asked: int = Field(description="training images that there is time to ask about")
    spent: float = Field(default=0.0, description="seconds of deciding, decoding and asking so far")
    ready: bool = Field(default=False, description="asked: only the training is left")


def make_plan(
    single: LoadedModel, request: DistillRequest, pictures: Pictures, run: Path, *, kept_out: int, say: Say
) -> DistillPlan:
    """Decide, for the training images `pictures`, or read from `run` what was decided.

    `kept_out`: number of validation images, for the record. Raises SettingsError.
    """
    path = run / "plan.json"
    if path.exists():
        plan = DistillPlan.model_validate_json(path.read_text())
        if plan.request != request or plan.single != single.card.sha256:
            raise SettingsError(f"{run}: holds another distillation: give another folder (--run) or delete it")
        return plan
    run.mkdir(parents=True, exist_ok=True)
    seconds = time_single(single, pictures)
    afford = 60 * request.minutes * _ASKING / seconds  # views that there is time to ask for
    views = int(min(_VIEWS, max(1, afford // len(pictures))))
    asked = int(min(len(pictures), max(4, afford // views)))
    if asked < len(pictures):
        say(
            f"the single takes {1e3 * seconds:.0f} ms for an image: only {asked:,} of {len(pictures):,} images"
            f" are used; more minutes allow more"
        )
    choices = _choices(single, request, say)
    settings, step = _affordable(choices, single, request, views, kept_out)
    chosen = next(choice for choice in choices if choice.net == settings.model.net)
    base, macs = _macs(single), _macs_of(chosen, single, request)
    ratio = "" if base is None else f", {macs / base:.2f} of a call of the single"
    say(
        f"{asked:,} images to learn from, {views} views of each; tiles of {chosen.tile} pixels; {macs / 1e6:.1f}"
        f" million multiply-accumulates a collage{ratio}"
    )
    plan = DistillPlan(request=request, single=single.card.sha256, settings=settings, seconds_a_step=step, asked=asked)
    keep_plan(plan, run)
    return plan


def _choices(single: LoadedModel, request: DistillRequest, say: Say) -> list[Choice]:
    own, base = single.card.preprocessing, _macs(single)
    if request.tile is not None and request.tile > own.size:
        raise SettingsError(f"tile: {request.tile} pixels; the single itself sees only {own.size}")
    if base is None:
        say("the single's multiply-accumulates cannot be counted: the report will say what was measured")
    choices = choose_nets(
        int(request.cost * base) if base is not None else _UNCOUNTED,
        size=own.size,
        grid=request.grid,
        channels=own.channels,
        classes=len(single.card.classes),
        tile=request.tile,
    )
    least = _macs_of(choices[-1], single, request)
    if base is not None and least > request.cost * base:
        say(
            f"no net is as cheap as {request.cost:g} calls of this single: the cheapest costs"
            f" {least / base:.1f}; for so small a single, a replica may be the better backup"
        )
    return choices


def _affordable(
    choices: list[Choice], single: LoadedModel, request: DistillRequest, views: int, kept_out: int
) -> tuple[TrainingSettings, float]:
    """The dearest net that can be shown enough tiles in the time, and the seconds of one of its steps here."""
    classes, left = len(single.card.classes), 60 * request.minutes * (1 - _ASKING)
    found: tuple[TrainingSettings, float] | None = None
    low, high = 0, len(choices) - 1  # the dearest first
    while low < high or found is None:
        middle = (low + high) // 2
        settings = _settings(choices[middle], single, request, views, kept_out)
        step, fast = _time_steps(settings, classes)
        affordable = step * _TILES_SEEN / (settings.train.batch * request.grid**2) <= left
        if affordable or middle == len(choices) - 1:
            loop = settings.train.model_copy(update={"bfloat16": fast})
            found = settings.model_copy(update={"train": loop}), step
        low, high = (low, middle) if affordable else (min(middle + 1, high), high)
    return found


def _settings(
    choice: Choice, single: LoadedModel, request: DistillRequest, views: int, kept_out: int
) -> TrainingSettings:
    """A training's settings; its length is set when the asking is done."""
    own, tile = single.card.preprocessing, choice.tile
    resize = None if own.resize is None else round(own.resize * tile / own.size)
    rate, decay, ema = _PACES[choice.net.backbone.family]
    return TrainingSettings(
        model=ModelSettings(
            name=request.name, role=Role.COLLAGE, grid=request.grid, licence=single.card.licence, net=choice.net
        ),
        preprocessing=own.model_copy(update={"size": tile, "resize": resize}),
        data=DataSettings(
            dataset=str(request.images), validation=kept_out, split_seed=request.seed, classes=single.card.classes
        ),
        augment=AugmentSettings(flip=request.flip, shift=max(1, min(16, tile // 16)), erase=tile // 8),
        distill=DistillSettings(weight=0.9, temperature=2.0, views=views, views_seed=request.seed, blank=0.15),
        train=LoopSettings(
            epochs=request.epochs,
            batch=max(4, round(_TILES / request.grid**2)),
            warmup=0.03,
            minutes=request.minutes,
            give_up=request.give_up,
            seed=request.seed,
            learning_rate=rate,
            weight_decay=decay,
            ema=ema,
        ),
    )


def _time_steps(settings: TrainingSettings, classes: int) -> tuple[float, bool]:
    """Seconds of a training step here, and whether that is with bfloat16: not every processor gains by it."""
    net, side = make_net(settings, classes), settings.preprocessing.size * (settings.model.grid or 1)
    part = max(1, settings.train.batch // 4)  # is enough to know
    canvas = torch.randn(part, settings.preprocessing.channels, side, side)
    canvas = canvas.contiguous(memory_format=torch.channels_last)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    times = {low: _one_step(copy.deepcopy(net), canvas, low) for low in (True, False)}
    return min(times.values()) * settings.train.batch / part, times[True] <= times[False]


def _one_step(net: nn.Module, canvas: torch.Tensor, bfloat16: bool) -> float:
    taken = []
    for _ in range(2):  # the first one warms up
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = net(canvas)
        outputs.float().square().mean().backward()
        taken.append(time.perf_counter() - began)
    return min(taken)


def in_time(plan: DistillPlan) -> TrainingSettings:
    """What is left of the minutes is for training; an epoch is a fixed share of it, and ends with an evaluation."""
    whole = 60 * plan.request.minutes
    left = max(whole - plan.spent, whole * (1 - _ASKING) / 2)
    loop = plan.settings.train.model_copy(
        update={"minutes": left / 60, "steps": max(_FEWEST, int(left / _EVALUATIONS / plan.seconds_a_step))}
    )
    return plan.settings.model_copy(update={"train": loop})


def _macs(single: LoadedModel) -> int | None:
    if single.card.cost is not None:
        return single.card.cost.macs
    own = single.card.preprocessing
    return count_graph(single.path, (1, own.channels, own.size, own.size))[0]


def _macs_of(choice: Choice, single: LoadedModel, request: DistillRequest) -> int:
    card = single.card
    return choice.macs(grid=request.grid, channels=card.preprocessing.channels, classes=len(card.classes))


def keep_plan(plan: DistillPlan, run: Path) -> None:
    """Write it; a kill leaves the last good one."""
    fresh = run / "plan.tmp"
    fresh.write_text(json.dumps(plan.model_dump(mode="json"), indent=2) + "\n")
    os.replace(fresh, run / "plan.json")
