"""The single as teacher: any ONNX classifier, asked once for a few augmented views of each image, then remembered."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from collage.training._settings import AugmentSettings, DistillSettings, TrainingSettings
from collage.training._views import Views, apply_views, draw_views
from collage.zoo import LoadedModel, open_session


class Teacher:
    """Soft outputs of `views` fixed views of each of n training images."""

    def __init__(self, views: Views, logits: Tensor, count: int) -> None:
        self._views = views  # of count * V images
        self._logits = logits  # (n, V, classes), float16
        self._count = count  # V

    def draw(self, index: Tensor, generator: torch.Generator) -> tuple[Views, Tensor]:
        """For images `index` (B,), a view of each at random, and the single's logits for it (B, classes)."""
        view = torch.randint(self._count, index.shape, generator=generator)
        return self._views.take(index * self._count + view), self._logits[index, view].float()


def answers_path(folder: Path, single: LoadedModel, seed: int) -> Path:
    """Where a training's folder keeps what this single answered."""
    return folder / f"answers-{single.card.sha256[:12]}-{seed}.pt"


def ask_single(
    single: LoadedModel,
    pixels: Tensor,
    augment: AugmentSettings,
    distill: DistillSettings,
    *,
    cache: Path,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Teacher:
    """The single's answers for views of training pixels (n, C, S, S); kept in `cache`, so that a resumed run asks none.

    The pixels must be those of the single's own preprocessing. `progress` is told the share done, 0..1.
    """
    count = distill.views
    views = draw_views(len(pixels) * count, augment, torch.Generator().manual_seed(seed))
    if cache.exists():
        return Teacher(views, torch.load(cache, weights_only=True), count)
    session = open_session(single.path, threads=torch.get_num_threads())
    name, classes = session.get_inputs()[0].name, len(single.card.classes)
    logits = torch.empty(len(pixels), count, classes, dtype=torch.float16)
    step = 256
    for start in range(0, len(pixels), step):
        batch = pixels[start : start + step].repeat_interleave(count, dim=0)  # (B * V, C, S, S)
        index = torch.arange(start * count, start * count + len(batch))
        images = apply_views(batch, views.take(index), augment, single.card.preprocessing)
        scores = np.asarray(session.run(None, {name: images.numpy()})[0])  # (B * V, classes)
        if single.card.output == "probabilities":
            scores = np.log(np.maximum(scores, 1e-8))
        logits[start : start + step] = torch.from_numpy(scores).view(-1, count, classes)
        progress(min(1.0, (start + step) / len(pixels)))
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_suffix(".tmp")
    torch.save(logits, fresh)
    fresh.replace(cache)  # whoever shares it sees all of it
    return Teacher(views, logits, count)


def share_answers(cache: Path, settings: TrainingSettings) -> None:
    """Where a training beside this one has asked the same single for the same views of the same images, take those.

    To ask takes a large single longer than many a backup takes to train.
    """
    if cache.exists():
        return
    for theirs in sorted(cache.parent.parent.glob(f"*/{cache.name}")):
        with contextlib.suppress(OSError, ValueError):  # a folder that is going, or of older settings
            other = TrainingSettings.model_validate_json((theirs.parent / "settings.json").read_text())
            if _what_is_asked(other) == _what_is_asked(settings):
                cache.parent.mkdir(parents=True, exist_ok=True)
                os.link(theirs, cache)
                return


def _what_is_asked(settings: TrainingSettings) -> tuple[object, ...]:
    """All that a single's answers depend on, beside the single and the seed."""
    views = settings.distill and settings.distill.views
    return settings.data, settings.preprocessing, settings.augment.flip, settings.augment.shift, views


def plain_answers(single: LoadedModel, pixels: Tensor, folder: Path) -> Tensor:
    """The single's answers for pixels (n, C, S, S) as they are, logits (n, classes); kept in `folder`."""
    as_they_are = AugmentSettings(flip=False, shift=0, erase=0)
    cache = folder / f"plain-{single.card.sha256[:12]}.pt"
    teacher = ask_single(single, pixels, as_they_are, DistillSettings(views=1), cache=cache, seed=0)
    return teacher.draw(torch.arange(len(pixels)), torch.Generator())[1]


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softened outputs (..., classes) -> (...), scaled by T^2 (Hinton et al., arXiv 1503.02531)."""
    soft = nn.functional.softmax(teacher / temperature, dim=-1)
    return -(soft * nn.functional.log_softmax(student / temperature, dim=-1)).sum(-1) * temperature**2
