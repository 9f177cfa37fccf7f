"""A training from its settings: data, teacher, task, net, loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from collage.data import PixelSet, load_pixels, open_dataset, split_validation
from collage.dispatch import Role
from collage.exceptions import ModelError, SettingsError
from collage.nets import LearnedNet, LearnedNetSettings, TileNet, WhitenedNet, YoloNetSettings, build_net
from collage.training._bond import bind
from collage.training._boxes import BoxTask
from collage.training._checkpoint import averaged_weights
from collage.training._collages import CollageTask
from collage.training._device import CPU
from collage.training._learned import LearnedTask
from collage.training._loop import Progress, Task, train
from collage.training._parity import ParityTask, encode_groups
from collage.training._rebuild import net_from_model
from collage.training._settings import TrainingSettings
from collage.training._single import SingleTask, to_planes
from collage.training._stop import Stop
from collage.training._teacher import Teacher, answers_path, ask_single, plain_answers, share_answers
from collage.training._team import ALONE, Team
from collage.training._views import normalise_batch
from collage.zoo import LoadedModel

_WHITENED = 5000  # images whose patches set the first filters


def run_training(
    settings: TrainingSettings,
    folder: Path,
    *,
    single: LoadedModel | None = None,
    teacher: LoadedModel | None = None,
    asking: Callable[[float], None] = lambda share: None,
    device: torch.device = CPU,
    team: Team = ALONE,
    stop: Stop | None = None,
) -> Iterator[Progress]:
    """Train what `settings` says in `folder`, resuming what is there; yields after each epoch. See `train`.

    A backup needs its `single`, which teaches it unless a larger net does, the `teacher`; a single with a [distill]
    table needs a teacher only. Preprocessing and classes must be the same. `asking` is told how far the teacher's
    answers for the training images have come, 0..1. `device`: see `choose_device`. Raises DataMissing, ModelError,
    ProcessLost, SettingsError.
    """
    torch.manual_seed(settings.train.seed)
    with team.watching(), team.in_turn():  # what is wrong is said once
        teacher = _teacher_of(settings, single, teacher)
        dataset = open_dataset(settings.data.dataset)
    images = load_pixels(dataset, "train", settings.preprocessing, limit=settings.data.limit)
    training, validation = split_validation(images, settings.data.validation, settings.data.split_seed)
    net = make_net(settings, len(images.classes))
    if settings.train.start is not None and not (folder / "checkpoint.pt").exists():
        net.load_state_dict(averaged_weights(settings.train.start, settings))
    elif isinstance(net, WhitenedNet | TileNet):
        net.prepare(_first_inputs(training, settings))
    with team.watching(), team.in_turn():
        for model in filter(None, (single, teacher)):
            if model.card.classes != images.classes:
                raise ModelError(f"{model.card.name} knows other classes than {settings.data.dataset}")
        if teacher is not None and settings.distill is not None:
            team.must_see(answers_path(folder, teacher, settings.distill.views_seed))
            bind(folder, single, teacher)
        task = _make_task(
            settings,
            folder,
            single=single,
            teacher=teacher,
            training=training,
            validation=validation,
            net=net,
            asking=asking,
            device=device,
        )
    yield from train(net, task, settings, folder, device=device, team=team, stop=stop)


def _make_task(
    settings: TrainingSettings,
    folder: Path,
    *,
    single: LoadedModel | None,
    teacher: LoadedModel | None,
    training: PixelSet,
    validation: PixelSet,
    net: nn.Module,
    asking: Callable[[float], None],
    device: torch.device,
) -> Task:
    if teacher is None or settings.distill is None:
        return SingleTask(training, validation, settings, device=device)
    asked = _ask(settings, teacher, training, folder, asking=asking, device=device)
    if settings.model.k is None:
        return _backup_task(settings)(training, validation, settings, asked, device=device)
    assert single is not None  # every backup has one
    answers = plain_answers(single, to_planes(validation), folder, device=device)
    if not isinstance(net, LearnedNet):
        return ParityTask(training, validation, settings, asked, answers, device=device)
    net.around(_as_net(single).to(device))
    return LearnedTask(training, validation, settings, asked, answers=answers, net=net, device=device)


def _backup_task(settings: TrainingSettings) -> type[CollageTask | SingleTask]:
    if settings.model.role is not Role.COLLAGE:
        return SingleTask
    return BoxTask if isinstance(settings.model.net, YoloNetSettings) else CollageTask


def make_net(settings: TrainingSettings, classes: int) -> nn.Module:
    """The net of a training, with fresh weights. That of a learned code has no single around it yet."""
    chosen, channels = settings.model.net, settings.preprocessing.channels
    if isinstance(chosen, LearnedNetSettings):
        assert settings.model.k is not None  # the settings' own rule
        return LearnedNet(
            chosen, k=settings.model.k, channels=channels, size=settings.preprocessing.size, classes=classes
        )
    return build_net(chosen, channels=channels, classes=classes, grid=settings.model.grid)


def _as_net(single: LoadedModel) -> nn.Module:
    if single.card.output != "logits":
        raise ModelError(f"{single.card.name} gives {single.card.output}: a learned code needs a single's logits")
    return net_from_model(single).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _teacher_of(
    settings: TrainingSettings, single: LoadedModel | None, teacher: LoadedModel | None
) -> LoadedModel | None:
    """Who teaches; None: nobody, labels only. Raises ModelError, SettingsError."""
    name, backup = settings.model.name, settings.model.role is not Role.SINGLE
    if settings.distill is None:
        if single is not None or teacher is not None:
            raise SettingsError(f"{name} has no [distill] table: it learns from labels alone")
        return None
    if backup and single is None:
        raise ModelError(f"{name} learns from a single: name one")
    if settings.model.k is not None and teacher is not None:
        raise SettingsError(f"{name} learns what its single says: no other net can teach it that")
    if not backup and (teacher is None or single is not None):
        raise ModelError(f"{name} is a single, which learns from a larger net: name one as its teacher")
    chosen = teacher or single
    assert chosen is not None  # a backup has a single, and a single a teacher
    for model in filter(None, (single, chosen)):
        if model.card.preprocessing != settings.preprocessing:
            raise ModelError(f"[preprocessing] must be that of {model.card.name}: tiles are seen as it sees images")
    return chosen


def _ask(
    settings: TrainingSettings,
    teacher: LoadedModel,
    training: PixelSet,
    folder: Path,
    *,
    asking: Callable[[float], None],
    device: torch.device,
) -> Teacher:
    assert settings.distill is not None  # or there is no teacher
    cache = answers_path(folder, teacher, settings.distill.views_seed)
    share_answers(cache, settings)
    return ask_single(
        teacher,
        to_planes(training),
        settings.augment,
        settings.distill,
        cache=cache,
        seed=settings.distill.views_seed,
        progress=asking,
        device=device,
    )


def _first_inputs(training: PixelSet, settings: TrainingSettings) -> Tensor:
    """Training images (n, C, S, S), normalised, as the net will see them."""
    images = normalise_batch(to_planes(training)[:_WHITENED], settings.preprocessing)
    k, encoder = settings.model.k, settings.model.encoder
    if k is None or encoder is None:
        return images
    return encode_groups(images[: len(images) // k * k], k, encoder)
