"""What a learned code learns: answers of the single, each missing in turn, from one more call of the single itself.

Source: Kosaian, Rashmi and Venkataraman, arXiv 1806.01259. Gradients pass through the single, which stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from collage.data import PixelSet
from collage.nets import LearnedNet
from collage.training._device import CPU, half_precision, moved
from collage.training._groups import draw_groups
from collage.training._order import mixed_order
from collage.training._settings import TrainingSettings
from collage.training._share import WHOLE, Share
from collage.training._single import to_planes
from collage.training._teacher import Teacher, distillation_loss
from collage.training._views import normalise_batch


class LearnedTask:
    """Groups of k images drawn at random, without regard to class. An epoch shows as many images as there are.

    `net` is the one that is trained; `answers`: what the single says of the validation images, logits (m, classes).
    """

    def __init__(
        self,
        training: PixelSet,
        validation: PixelSet,
        settings: TrainingSettings,
        teacher: Teacher,
        *,
        answers: Tensor,
        net: LearnedNet,
        device: torch.device = CPU,
    ) -> None:
        if settings.model.k is None or settings.distill is None:
            raise ValueError("a learned code needs k and a teacher")
        self._settings, self._distill, self._teacher = settings, settings.distill, teacher
        self._k, self._net, self._answers = settings.model.k, net, answers
        self._device = device
        self._pixels = to_planes(training)  # (n, C, S, S) uint8
        self._labels = torch.from_numpy(training.labels)
        self._validation = to_planes(validation), torch.from_numpy(validation.labels)
        self.steps = max(1, len(training) // (settings.train.batch * self._k))
        self.size = settings.train.batch

    def batch(self, generator: torch.Generator, share: Share = WHOLE) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Groups (b, k*C, S, S), the share's of B, and the loss of the single's outputs for what is made of them."""
        settings, k = self._settings, self._k
        index, images, soft = draw_groups(
            self._pixels, self._teacher, settings, generator, k=k, share=share, device=self._device
        )
        labels, weight = moved(self._labels[index], self._device), self._distill.weight

        def loss(outputs: Tensor) -> Tensor:
            rebuilt = self._net.decoder.rebuild(soft.view(-1, k, soft.shape[-1]), outputs).flatten(0, 1)
            gentle = distillation_loss(rebuilt, soft, self._distill.temperature).mean()
            hard = nn.functional.cross_entropy(rebuilt, labels, label_smoothing=settings.train.label_smoothing)
            return weight * gentle + (1 - weight) * hard

        return _grouped(images, k), loss

    def state_dict(self) -> dict[str, Any]:
        """Every batch is drawn anew: there is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See state_dict."""

    @torch.no_grad()
    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """A_d: the mean over positions, each missing in turn; the share's part of it."""
        assert isinstance(net, LearnedNet)  # the average of the one that is trained
        pixels, labels = self._validation
        k, index = self._k, mixed_order(len(labels), self._k)
        right, step = 0, 256 * k
        for start in share.turns(range(0, len(index), step)):
            part = index[start : start + step]
            groups = _grouped(normalise_batch(moved(pixels[part], self._device), self._settings.preprocessing), k)
            with half_precision(self._device, enabled=self._settings.train.bfloat16):
                outputs = net(groups.contiguous(memory_format=torch.channels_last))  # (B, classes)
            answers = moved(self._answers[part], self._device).view(len(groups), k, -1)
            rebuilt = net.decoder.rebuild(answers, outputs.float())
            right += int((rebuilt.flatten(0, 1).argmax(1).cpu() == labels[part]).sum())
        return right / len(index)


def _grouped(images: Tensor, k: int) -> Tensor:
    """(B * k, C, S, S), k after k -> (B, k*C, S, S)."""
    _, channels, size, _ = images.shape
    return images.reshape(-1, k * channels, size, size)
