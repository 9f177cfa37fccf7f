"""What a collage-cnn learns: collages of randomly drawn, augmented tiles, new ones every step, some tiles blank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from collage.data import PixelSet
from collage.training._device import CPU, half_precision, moved
from collage.training._order import mixed_order
from collage.training._settings import TrainingSettings
from collage.training._share import WHOLE, Share
from collage.training._single import to_planes
from collage.training._strange import draw_strange
from collage.training._teacher import Teacher, teaching_loss
from collage.training._views import draw_squares, erase_squares, normalise_batch, show

BLANK = 0.0  # a blank tile in normalised space: the mean pixel, as `codes` writes it


class CollageTask:
    """Tiles are drawn without regard to class. An epoch shows every training image once, where no steps are set.

    The single alone teaches images that are UNLABELLED; validation images need labels.
    """

    def __init__(
        self,
        training: PixelSet,
        validation: PixelSet,
        settings: TrainingSettings,
        teacher: Teacher,
        *,
        device: torch.device = CPU,
    ) -> None:
        if settings.model.grid is None or settings.distill is None:
            raise ValueError("a collage needs a grid and a teacher")
        self._device = device
        self._settings, self._distill, self._teacher = settings, settings.distill, teacher
        self.grid = settings.model.grid
        self.tiles = self.grid * self.grid
        self._classes = len(training.classes)
        self._pixels = torch.from_numpy(training.pixels)  # (n, T, T, C) uint8: perhaps on disk, so never copied whole
        self._labels = torch.from_numpy(training.labels)
        self._validation = to_planes(validation), torch.from_numpy(validation.labels)
        self.steps = settings.train.steps or max(1, len(training) // (settings.train.batch * self.tiles))
        self.size = settings.train.batch
        self._order = torch.empty(0, dtype=torch.int64)
        self._step = 0

    def batch(self, generator: torch.Generator, share: Share = WHOLE) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Canvases (b, C, g*T, g*T), the share's of B, and the loss of the net's outputs for them."""
        settings, augment, count = self._settings, self._settings.augment, self.size * self.tiles
        device = self._device
        mine = share.part(self.size)
        part = slice(mine.start * self.tiles, mine.stop * self.tiles)  # its tiles: b * g*g
        index = self._draw(count, generator)  # (B * g*g,)
        views, soft = self._teacher.draw(index, generator, part)  # soft: (b * g*g, classes)
        squares = draw_squares(count, settings.preprocessing.size, augment.erase, generator)
        filled = draw_filled(self.size, self.tiles, self._distill.blank, generator).view(-1)  # (B * g*g,)
        # Tiles that show nothing are unknown as blank ones are, but may lie anywhere.
        strange = filled & (torch.rand(count, generator=generator) < self._distill.strange)
        nothing = draw_strange(int(strange.sum()), settings.preprocessing, generator)
        nothing = nothing[int(strange[: part.start].sum()) :]  # from its first on
        index, filled, strange = index[part], filled[part], strange[part]
        views = views.take(part)
        tiles = show(
            lambda some: self._pixels.index_select(0, some).permute(0, 3, 1, 2), index, views, augment.shift,
            settings.preprocessing, device=device,
        )  # (b * g*g, C, T, T)  # fmt: skip
        erase_squares(tiles, augment.erase, squares and squares.take(part).to(device))
        tiles[moved(strange.nonzero()[:, 0], device)] = moved(nothing[: int(strange.sum())], device)
        tiles[moved((~filled).nonzero()[:, 0], device)] = BLANK
        filled = filled & ~strange
        labels = moved(torch.where(filled, views.known(self._labels[index]), self._classes), device)
        filled, soft = moved(filled, device), moved(soft, device)
        return assemble(tiles, self.grid), lambda outputs: self._loss(outputs, labels, soft, filled)

    def _loss(self, outputs: Tensor, labels: Tensor, soft: Tensor, filled: Tensor) -> Tensor:
        """Of outputs (B, g*g, classes + 1); by tile: label (B * g*g,), the single's logits, whether it is filled."""
        outputs = outputs.flatten(0, 1)  # (B * g*g, classes + 1)
        # The single never says "nothing to see": its share of the last output is 0.
        soft = nn.functional.pad(soft, (0, 1), value=-torch.inf)  # (B * g*g, classes + 1)
        smoothing = self._settings.train.label_smoothing
        return teaching_loss(outputs, labels, soft, self._distill, smoothing=smoothing, shown=filled)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The next `count` images: each once an epoch, so that none is left out by chance."""
        # A shuffle an epoch.
        if self._step == 0:
            self._order = torch.randperm(len(self._labels), generator=generator)
        first = self._step * count
        self._step = (self._step + 1) % self.steps
        # Fewer images than one step takes: the order is gone through again.
        return self._order[torch.arange(first, first + count) % len(self._order)]

    def state_dict(self) -> dict[str, Any]:
        """Where in an epoch it is."""
        return {"order": self._order, "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._order, self._step = state["order"], int(state["step"])

    @torch.no_grad()
    def validate(self, net: nn.Module, share: Share = WHOLE) -> float:
        """A_d on collages of all validation images, every tile filled: the share's part of it."""
        pixels, labels = self._validation
        index = mixed_order(len(labels), self.tiles)
        right, step = 0, 64 * self.tiles
        for start in share.turns(range(0, len(index), step)):
            part = index[start : start + step]
            tiles = normalise_batch(moved(pixels[part], self._device), self._settings.preprocessing)
            canvas = assemble(tiles, self.grid)
            with half_precision(self._device, enabled=self._settings.train.bfloat16):
                outputs = net(canvas.contiguous(memory_format=torch.channels_last))  # (B, g*g, classes + 1)
            right += int((outputs.flatten(0, 1).argmax(1).cpu() == labels[part]).sum())
        return right / len(index)


def assemble(tiles: Tensor, grid: int) -> Tensor:
    """Tiles (B * g*g, C, T, T), row by row -> canvases (B, C, g*T, g*T), as `codes.CollageCode.encode` makes one."""
    _, channels, size, _ = tiles.shape
    x = tiles.view(-1, grid, grid, channels, size, size)  # (B, row, column, C, T, T)
    x = x.permute(0, 3, 1, 4, 2, 5)  # (B, C, row, T, column, T)
    return x.reshape(-1, channels, grid * size, grid * size)


def draw_filled(count: int, tiles: int, blank: float, generator: torch.Generator) -> Tensor:
    """Which tiles hold an image: bool (count, tiles); at least one each.

    A share `blank` of the collages is partial: half of those filled from the first tile on, as groups that close early
    are, the others anywhere, so that no position is learnt as always full.
    """
    partial = torch.rand(count, 1, generator=generator) < blank
    fill = torch.randint(1, tiles, (count, 1), generator=generator) if tiles > 1 else torch.ones(count, 1)
    shuffled = torch.rand(count, tiles, generator=generator).argsort(1)  # a permutation a row
    anywhere = torch.rand(count, 1, generator=generator) < 0.5
    rank = torch.where(anywhere, shuffled, torch.arange(tiles).expand(count, -1))
    return ~partial | (rank < fill)
