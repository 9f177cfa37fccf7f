"""What a parity model learns: from k images made one, the sum of what the single says of each.

Source: Kosaian, Rashmi and Venkataraman, "Parity Models", SOSP 2019, arXiv 1905.00863, whose loss is the squared error
of that sum. Beside it, a share of the loss may be that of the answers as they are rebuilt, one for each position: what
decoding is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from collage.codes import concat_layout
from collage.data import PixelSet
from collage.training._device import CPU, half_precision, moved
from collage.training._groups import draw_groups
from collage.training._order import mixed_order
from collage.training._settings import TrainingSettings
from collage.training._share import WHOLE, Share
from collage.training._single import to_planes
from collage.training._teacher import Teacher, distillation_loss
from collage.training._views import normalise_batch

_SPREAD_IMAGES = 2000  # whose outputs say how far the single's differ


class ParityTask:
    """Groups of k images drawn at random, without regard to class. An epoch shows as many images as there are.

    `answers`: what the single says of the validation images, logits (m, classes).
    """

    def __init__(
        self,
        training: PixelSet,
        validation: PixelSet,
        settings: TrainingSettings,
        teacher: Teacher,
        answers: Tensor,
        *,
        device: torch.device = CPU,
    ) -> None:
        if settings.model.k is None or settings.model.encoder is None or settings.distill is None:
            raise ValueError("a parity needs k, an encoder and a teacher")
        self._settings, self._distill, self._teacher = settings, settings.distill, teacher
        self._k, self._encoder = settings.model.k, settings.model.encoder
        self._pixels = to_planes(training)  # (n, C, S, S) uint8
        self._validation = to_planes(validation), torch.from_numpy(validation.labels)
        self._answers, self._device = answers, device
        # Squared errors are counted in variances of the sums: 1 is a model that only knows their mean.
        self._spread = self._k * float(answers[:_SPREAD_IMAGES].var(0).mean().clamp_min(1e-6))
        self.steps = max(1, len(training) // (settings.train.batch * self._k))
        self.size = settings.train.batch

    def batch(self, generator: torch.Generator, share: Share = WHOLE) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Parity images (b, C, S, S), the share's of B, and the loss of outputs (b, classes)."""
        k = self._k
        _, images, soft = draw_groups(
            self._pixels, self._teacher, self._settings, generator, k=k, share=share, device=self._device
        )
        soft = soft.view(-1, k, soft.shape[-1])  # (b, k, classes)
        weight, temperature = self._distill.weight, self._distill.temperature

        def loss(outputs: Tensor) -> Tensor:
            wrong = outputs - soft.sum(1)  # (b, classes): also how wrong each rebuilt answer is
            squared = wrong.square().mean() / self._spread
            if weight == 0:
                return squared
            rebuilt = distillation_loss(soft + wrong.unsqueeze(1), soft, temperature).mean()
            return weight * rebuilt + (1 - weight) * squared

        return encode_groups(images, k, self._encoder), loss

    def state_dict(self) -> dict[str, Any]:
        """Every batch is drawn anew: there is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See state_dict."""

    @torch.no_grad()
    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """A_d: the mean over positions, each missing in turn; the share's part of it."""
        pixels, labels = self._validation
        k, index = self._k, mixed_order(len(labels), self._k)
        right, step = 0, 512 * k
        for start in share.turns(range(0, len(index), step)):
            part = index[start : start + step]
            images = normalise_batch(moved(pixels[part], self._device), self._settings.preprocessing)
            parity = encode_groups(images, k, self._encoder)
            with half_precision(self._device, enabled=self._settings.train.bfloat16):
                outputs = net(parity.contiguous(memory_format=torch.channels_last)).float().cpu()  # (B, classes)
            answers = self._answers[part].view(len(outputs), k, -1)  # (B, k, classes)
            rebuilt = outputs.unsqueeze(1) - (answers.sum(1, keepdim=True) - answers)  # (B, k, classes)
            right += int((rebuilt.flatten(0, 1).argmax(1) == labels[part]).sum())
        return right / len(index)


def encode_groups(images: Tensor, k: int, encoder: Literal["sum", "concat"]) -> Tensor:
    """Images (B * k, C, S, S), k after k -> parity images (B, C, S, S), as `codes.ParityCode.encode` makes one.

    Raises ValueError for a k or a size that `concat` cannot do.
    """
    _, channels, size, _ = images.shape
    if encoder == "sum":
        return images.view(-1, k, channels, size, size).sum(1)
    rows, columns = concat_layout(k, size)
    small = nn.functional.avg_pool2d(images, (rows, columns))  # (B * k, C, S / rows, S / columns)
    x = small.view(-1, rows, columns, channels, size // rows, size // columns)
    x = x.permute(0, 3, 1, 4, 2, 5)  # (B, C, row, S / rows, column, S / columns)
    return x.reshape(-1, channels, size, size)
