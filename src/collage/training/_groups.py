"""Groups of k images, from which parity models and learned codes learn."""

from __future__ import annotations

import torch
from torch import Tensor

from collage.training._device import moved
from collage.training._settings import TrainingSettings
from collage.training._share import Share
from collage.training._teacher import Teacher
from collage.training._views import show


def draw_groups(
    pixels: Tensor,
    teacher: Teacher,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    k: int,
    share: Share,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of groups out of pixels (n, C, S, S) uint8, without regard to class; of it, the share's b groups.

    Returns which images they are (b * k,), and on `device` a view of each (b * k, C, S, S), normalised, and what the
    single says of that view (b * k, classes).
    """
    batch = settings.train.batch
    mine = share.part(batch)
    part = slice(mine.start * k, mine.stop * k)  # its images
    index = torch.randint(len(pixels), (batch * k,), generator=generator)
    views, soft = teacher.draw(index, generator, part)  # soft: (b * k, classes)
    index = index[part]
    images = show(
        lambda some: pixels.index_select(0, some), index, views.take(part), settings.augment.shift,
        settings.preprocessing, device=device,
    )  # fmt: skip
    return index, images, moved(soft, device)
