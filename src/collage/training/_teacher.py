"""The single as teacher: any ONNX classifier, asked once for a few augmented views of each image, then remembered."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from collage.data import UNLABELLED
from collage.training._ask import Pictures, ask
from collage.training._device import CPU
from collage.training._settings import AugmentSettings, DistillSettings, TrainingSettings
from collage.training._views import Views, draw_views
from collage.zoo import LoadedModel


class Teacher:
    """Soft outputs of `views` fixed views of each of n training images."""

    def __init__(self, views: Views, logits: Tensor, count: int) -> None:
        self._views = views  # of count * V images
        self._logits = logits  # (n, V, classes), float16
        self._count = count  # V

    def draw(self, index: Tensor, generator: torch.Generator, part: slice) -> tuple[Views, Tensor]:
        """For images `index` (B,), a view of each at random; for a part of them, the single's logits (b, classes)."""
        view = torch.randint(self._count, index.shape, generator=generator)
        return self._views.take(index * self._count + view), self._logits[index[part], view[part]].float()


def answers_path(folder: Path, single: LoadedModel, seed: int) -> Path:
    """Where a training's folder keeps what this single answered."""
    return folder / f"answers-{single.card.sha256[:12]}-{seed}.pt"


def ask_single(
    single: LoadedModel,
    pictures: Pictures | Tensor,
    augment: AugmentSettings,
    distill: DistillSettings,
    *,
    cache: Path,
    seed: int,
    tile: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
    device: torch.device = CPU,
) -> Teacher:
    """The single's answers for views of training images, kept in `cache`: a resumed run asks only what is left.

    `tile`: side of the tile that will show the views, which flip and shift it; None: the single's own size. The single
    sees the same view at its own size. `progress` is told the share done, 0..1.
    """
    count, own = distill.views, single.card.preprocessing
    generator = torch.Generator().manual_seed(seed)
    views = draw_views(len(pictures) * count, len(pictures), augment, generator)
    theirs, shift = views.scaled(augment.shift, own.size / (tile or own.size))
    logits = ask(single, pictures, theirs, shift, cache=cache, progress=progress, device=device)
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
    augment = settings.augment.model_copy(update={"erase": 0})  # which a teacher does not see
    return settings.data, settings.preprocessing, augment, views


def plain_answers(
    single: LoadedModel,
    pictures: Pictures | Tensor,
    folder: Path,
    *,
    name: str = "plain",
    progress: Callable[[float], None] = lambda share: None,
    device: torch.device = CPU,
) -> Tensor:
    """The single's answers for images as they are, logits (n, classes); kept in `folder` under `name`."""
    none = torch.zeros(len(pictures), dtype=torch.int64)
    cache = folder / f"{name}-{single.card.sha256[:12]}.pt"
    views = Views(none.bool(), none, none)
    return ask(single, pictures, views, 0, cache=cache, progress=progress, device=device)[:, 0].float()


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softened outputs (..., classes) -> (...), scaled by T^2 (Hinton et al., arXiv 1503.02531)."""
    soft = nn.functional.softmax(teacher / temperature, dim=-1)
    return -(soft * nn.functional.log_softmax(student / temperature, dim=-1)).sum(-1) * temperature**2


def teaching_loss(
    outputs: Tensor,
    labels: Tensor,
    soft: Tensor,
    distill: DistillSettings,
    *,
    smoothing: float,
    shown: Tensor | None = None,
) -> Tensor:
    """Mean loss of outputs (B, classes): the single's answers `soft`, of the same shape, and labels (B,), weighed.

    The single alone teaches what is UNLABELLED; labels alone where `shown`, bool (B,), says that there is no image.
    """
    hard = nn.functional.cross_entropy(
        outputs, labels.clamp_min(0), label_smoothing=smoothing, reduction="none"
    )  # (B,)
    gentle = distillation_loss(outputs, soft, distill.temperature)  # (B,)
    weight = torch.where(labels == UNLABELLED, 1.0, distill.weight)
    if shown is not None:
        weight = weight * shown.float()
    return (weight * gentle + (1 - weight) * hard).mean()
