"""What a net for one image learns: labels, and for a small single (code `cheap`) also the single's soft outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from collage.data import PixelSet
from collage.training._device import CPU, half_precision, moved
from collage.training._settings import TrainingSettings
from collage.training._share import WHOLE, Share
from collage.training._teacher import Teacher, teaching_loss
from collage.training._views import draw_squares, draw_views, erase_squares, normalise_batch, show


class SingleTask:
    """Shuffled, augmented images, each once an epoch."""

    def __init__(
        self,
        training: PixelSet,
        validation: PixelSet,
        settings: TrainingSettings,
        teacher: Teacher | None = None,
        *,
        device: torch.device = CPU,
    ) -> None:
        self._settings, self._device = settings, device
        self._teacher = teacher
        self._pixels = to_planes(training)  # (n, C, S, S) uint8
        self._labels = torch.from_numpy(training.labels)
        self._validation = to_planes(validation), torch.from_numpy(validation.labels)
        self.steps = max(1, len(training) // settings.train.batch)
        self.size = min(settings.train.batch, len(training))
        self._order = torch.empty(0, dtype=torch.int64)
        self._next = 0

    def batch(self, generator: torch.Generator, share: Share = WHOLE) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Images (b, C, S, S), the share's of B, and the loss of logits (b, classes)."""
        settings, augment, part, device = self._settings, self._settings.augment, share.part(self.size), self._device
        # A shuffle an epoch.
        if self._next + self.size > len(self._order) or self._next // self.size >= self.steps:
            self._order, self._next = torch.randperm(len(self._labels), generator=generator), 0
        index = self._order[self._next : self._next + self.size]  # (B,)
        self._next += self.size
        if self._teacher is None:
            views, soft = draw_views(self.size, len(self._labels), augment, generator), None
        else:
            views, soft = self._teacher.draw(index, generator, part)
            soft = moved(soft, device)
        squares = draw_squares(self.size, settings.preprocessing.size, augment.erase, generator)
        index, views = index[part], views.take(part)
        own = self._labels[index]
        labels = moved(own if soft is None else views.known(own), device)
        mixtures = views.mixtures
        others = None if mixtures is None else moved(self._labels[mixtures.other], device)
        shares = None if mixtures is None else moved(mixtures.own, device)
        images = show(
            lambda some: self._pixels.index_select(0, some), index, views, augment.shift, settings.preprocessing,
            device=device,
        )  # (b, C, S, S)  # fmt: skip
        erase_squares(images, augment.erase, squares and squares.take(part).to(device))

        def loss(outputs: Tensor) -> Tensor:
            smoothing = settings.train.label_smoothing
            if soft is not None and settings.distill is not None:
                return teaching_loss(outputs, labels, soft, settings.distill, smoothing=smoothing)
            if others is None or shares is None:
                return nn.functional.cross_entropy(outputs, labels, label_smoothing=smoothing)
            # Without a teacher a mixture has the labels of both, each for its share.
            wrong = [
                nn.functional.cross_entropy(outputs, some, label_smoothing=smoothing, reduction="none")
                for some in (labels, others)
            ]  # (b,) each
            return torch.lerp(wrong[1], wrong[0], shares).mean()

        return images, loss

    @torch.no_grad()
    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """Accuracy on the validation images, 0..1: the share's part of it."""
        pixels, labels = self._validation
        right = 0
        for start in share.turns(range(0, len(labels), 500)):
            images = normalise_batch(moved(pixels[start : start + 500], self._device), self._settings.preprocessing)
            with half_precision(self._device, enabled=self._settings.train.bfloat16):
                outputs = net(images.contiguous(memory_format=torch.channels_last))
            right += int((outputs.argmax(1).cpu() == labels[start : start + 500]).sum())
        return right / len(labels)

    def state_dict(self) -> dict[str, Any]:
        """Where in an epoch it is."""
        return {"order": self._order, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._order, self._next = state["order"], int(state["next"])


def to_planes(images: PixelSet) -> Tensor:
    """uint8 (n, S, S, C) -> (n, C, S, S), contiguous."""
    return torch.from_numpy(images.pixels).permute(0, 3, 1, 2).contiguous()
