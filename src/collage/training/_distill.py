"""Any single and a folder of images -> a collage-cnn to serve beside it. Reads top to bottom; each step is kept.

Look at the images and keep some out; choose tile and net by what the single's call costs and by the time; decode the
images once, at the tile's size; ask the single once; train until the time is over or nothing is gained; export,
calibrate, measure. The same call goes on where one that was stopped left off.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from collage.data import UNLABELLED, ImageFiles, PixelSet, find_images, keep_pixels
from collage.exceptions import DataMissing, ModelError
from collage.nets import TileNet
from collage.training._ask import Files, Pictures, Planes
from collage.training._collages import CollageTask
from collage.training._device import CPU
from collage.training._distill_report import Seen, Told, report_distilled
from collage.training._export import export_model
from collage.training._loop import train
from collage.training._plan import DistillRequest, Say, in_time, keep_plan, make_plan
from collage.training._run import make_net
from collage.training._settings import TrainingSettings
from collage.training._stop import Stop
from collage.training._teacher import Teacher, answers_path, ask_single, plain_answers
from collage.training._team import ALONE, Team
from collage.training._views import normalise_batch
from collage.zoo import LoadedModel, Split, load_model

_FIRST = 2000  # images that a net may look at before it learns
_MOST_KEPT_OUT = 2500  # images for validation, and as many for the final figures where there is no test folder


@dataclass(frozen=True)
class _Images:
    """The folder's images: to learn from, to choose by, to measure on."""

    training: ImageFiles
    validation: ImageFiles
    test: ImageFiles
    split: Split


def distill(
    single: LoadedModel,
    request: DistillRequest,
    run: Path,
    out: Path,
    *,
    told: Told = lambda stage, share: None,
    say: Say = lambda line: None,
    command: str = "",
    device: torch.device = CPU,
    team: Team = ALONE,
    stop: Stop | None = None,
) -> tuple[LoadedModel, dict[str, Any]]:
    """Distil a collage-cnn from `single`; returns it as the zoo loads it, from `out`, and what was measured of it.

    `run` keeps what a resumed call goes on from; `out/<name>/` gets the report. `told` hears a stage's name and the
    share of it that is done, 0..1; `say` lines for the reader. `device`: see `choose_device`. Every process of a `team`
    calls this, and gets the same. Raises DataMissing, InvalidImage, ModelError, ProcessLost and SettingsError, one line
    each; KeyboardInterrupt where `stop` has ended the training.
    """
    torch.manual_seed(request.seed)
    with team.watching(), team.in_turn():
        team.must_see(run / "plan.json")
        net, task, parts, validation, settings = _prepare(single, request, run, told=told, say=say, device=device)
    stop = stop or Stop()
    for done in train(net, task, settings, run, device=device, team=team, stop=stop):
        told("training", done.done)
        if done.accuracy is not None:
            kind = "A_d" if request.labels else "agreement"
            say(f"{done.done:4.0%}  loss {done.loss:.4f}  validation {kind} {done.accuracy:.2%} (best {done.best:.2%})")
        if done.note:
            say(done.note)
    if stop.stopped:
        raise KeyboardInterrupt
    told("training", 1.0)

    with team.watching(), team.in_turn():
        if not team.first:
            written = json.loads((out / request.name / "summary.json").read_text("utf-8"))
            return load_model(out / f"{request.name}.onnx"), written
        model = export_model(run, out, single=single, command=command)
        test = _Asking(single, settings, run, told, device).seen(parts.test, "test")
        summary = report_distilled(
            single,
            model,
            out / request.name,
            validation=validation,
            test=test,
            split=parts.split,
            labelled=request.labels,
            told=told,
        )
        told("measuring", 1.0)
        return model, summary


def _prepare(
    single: LoadedModel, request: DistillRequest, run: Path, *, told: Told, say: Say, device: torch.device
) -> tuple[nn.Module, CollageTask, _Images, Seen, TrainingSettings]:
    """All that comes before the training: the net, what it learns, the images, those of validation, the settings."""
    began = time.perf_counter()
    parts = _find(request, single)
    pictures = Files(parts.training, single.card.preprocessing)
    plan = make_plan(single, request, pictures, run, kept_out=parts.split.images, say=say)
    parts = _take(parts, plan.asked)

    asking, spent = _Asking(single, plan.settings, run, told, device), plan.spent
    try:
        training = asking.pixels(parts.training, "training")
        validation = asking.seen(parts.validation, "validation")
        if request.labels:
            _check_labels(single, validation)
        teacher = asking.teacher(parts.training, training)
    finally:
        if not plan.ready:
            plan.spent = spent + time.perf_counter() - began
            keep_plan(plan, run)
    if not plan.ready:
        plan.settings, plan.ready = in_time(plan), True
        keep_plan(plan, run)

    net = make_net(plan.settings, len(single.card.classes))
    if isinstance(net, TileNet):
        first = torch.from_numpy(training.pixels[:_FIRST]).permute(0, 3, 1, 2)  # (n, C, T, T)
        net.prepare(normalise_batch(first, plan.settings.preprocessing))
    task = CollageTask(training, validation.images, plan.settings, teacher, device=device)
    return net, task, parts, validation, plan.settings


def _find(request: DistillRequest, single: LoadedModel) -> _Images:
    """Test images are those of a test folder, or, where there is none, some that are kept out as validation is."""
    classes = single.card.classes if request.labels else None
    found = find_images(request.images, "train", classes=classes)
    order = np.random.default_rng(request.seed).permutation(len(found))
    kept = min(_MOST_KEPT_OUT, max(1, len(found) // 10))
    split = Split(images=kept, seed=request.seed)
    validation, order = order[:kept], order[kept:]
    if (request.images / "train").is_dir() and (request.images / "test").is_dir():
        test = find_images(request.images, "test", classes=classes)
    else:
        test, order = found.take(np.sort(order[:kept])), order[kept:]
    if len(order) < 4:
        raise DataMissing(f"{request.images}: {len(found)} images are too few to learn from")
    training = found.take(np.sort(order[: request.limit]))
    return _Images(training, found.take(np.sort(validation)), test, split)


def _take(parts: _Images, asked: int) -> _Images:
    """As many training images as are asked about, spread evenly."""
    index = np.linspace(0, len(parts.training) - 1, asked).astype(np.int64)
    return _Images(parts.training.take(index), parts.validation, parts.test, parts.split)


class _Asking:
    """Decodes images at the tile's size, and asks the single about them at its own; both are kept in `run`."""

    def __init__(
        self, single: LoadedModel, settings: TrainingSettings, run: Path, told: Told, device: torch.device
    ) -> None:
        self._single, self._settings, self._run, self._told, self._device = single, settings, run, told, device

    def pixels(self, images: ImageFiles, name: str) -> PixelSet:
        """As the tiles show them."""
        return keep_pixels(
            images,
            self._settings.preprocessing,
            self._run / f"{name}.u8",
            self._single.card.classes,
            progress=lambda share: self._told(f"decoding {name} images", share),
        )

    def seen(self, images: ImageFiles, name: str) -> Seen:
        """With the single's plain answers, which stand for labels where there are none."""
        pixels = self.pixels(images, name)
        logits = plain_answers(
            self._single,
            self._pictures(images, pixels),
            self._run,
            name=name,
            progress=lambda share: self._told(f"asking about {name} images", share),
            device=self._device,
        ).numpy()
        labels = np.where(pixels.labels == UNLABELLED, logits.argmax(1), pixels.labels)
        return Seen(PixelSet(pixels.pixels, labels, pixels.classes), logits)

    def teacher(self, images: ImageFiles, pixels: PixelSet) -> Teacher:
        """With the single's answers for augmented views."""
        settings = self._settings
        assert settings.distill is not None
        seed = settings.distill.views_seed
        return ask_single(
            self._single,
            self._pictures(images, pixels),
            settings.augment,
            settings.distill,
            cache=answers_path(self._run, self._single, seed),
            seed=seed,
            tile=settings.preprocessing.size,
            progress=lambda share: self._told("asking the single", share),
            device=self._device,
        )

    def _pictures(self, images: ImageFiles, pixels: PixelSet) -> Pictures:
        """What the single sees: the tiles' own pixels where they are what it wants, else the files once more."""
        if self._settings.preprocessing == self._single.card.preprocessing:
            return Planes(torch.from_numpy(pixels.pixels).permute(0, 3, 1, 2))
        return Files(images, self._single.card.preprocessing)


def _check_labels(single: LoadedModel, validation: Seen) -> None:
    right, count = float((validation.logits.argmax(1) == validation.images.labels).mean()), len(validation.images)
    chance = 1 / len(single.card.classes)
    if count >= 50 and right <= 1.5 * chance:
        raise ModelError(
            f"{single.card.name}: right for only {right:.1%} of {count} labelled images, as by chance: do its outputs"
            " come in another order than the class names (--classes), or is its preprocessing another?"
        )
