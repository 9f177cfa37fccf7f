"""Augmented views of training images, drawn and applied a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from collage.data import UNLABELLED
from collage.imaging import Preprocessing
from collage.training._device import CPU, moved
from collage.training._settings import AugmentSettings


class Mixtures(NamedTuple):
    """With which image each of B is mixed, int64 (B,), and its own share of the mixture, float32 (B,): 1 is no mixture.

    Source: mixup (Zhang et al., arXiv 1710.09412). Only a teacher knows what a mixture shows, and from many of them a
    student learns what it does between the images (Beyer et al., arXiv 2106.05237).
    """

    other: Tensor
    own: Tensor

    def take(self, index: Tensor | slice) -> Mixtures:
        """Those at `index`."""
        return Mixtures(self.other[index], self.own[index])


class Views(NamedTuple):
    """How each of B images is changed: flip bool (B,), dy and dx int64 (B,), from 0 to 2 * shift; `shift` is none.

    `mixtures`: None where no image is mixed with another.
    """

    flip: Tensor
    dy: Tensor
    dx: Tensor
    mixtures: Mixtures | None = None

    def take(self, index: Tensor | slice) -> Views:
        """The views at `index`."""
        mixtures = self.mixtures and self.mixtures.take(index)
        return Views(self.flip[index], self.dy[index], self.dx[index], mixtures)

    def known(self, labels: Tensor) -> Tensor:
        """Labels (B,) of the images, UNLABELLED where only a teacher knows what a view shows."""
        return labels if self.plain is None else labels.where(self.plain, UNLABELLED)

    @property
    def plain(self) -> Tensor | None:
        """Which of them show one image only, bool (B,); None: all do."""
        return None if self.mixtures is None else self.mixtures.own == 1

    def scaled(self, shift: int, factor: float) -> tuple[Views, int]:
        """The same views of pictures `factor` times as large, to the nearest pixel, and the shift that is theirs."""
        wide = round(shift * factor)
        dy, dx = (((d - shift) * factor).round().long() + wide for d in (self.dy, self.dx))
        return Views(self.flip, dy, dx, self.mixtures), wide


def draw_views(count: int, settings: AugmentSettings, generator: torch.Generator) -> Views:
    """Views of `count` images at random."""
    side = 2 * settings.shift + 1
    flip = torch.rand(count, generator=generator) < 0.5 if settings.flip else torch.zeros(count, dtype=torch.bool)
    return Views(
        flip,
        torch.randint(side, (count,), generator=generator),
        torch.randint(side, (count,), generator=generator),
    )


def draw_mixtures(count: int, images: int, share: float, generator: torch.Generator) -> Mixtures | None:
    """For `count` views, of which about `share` are mixed with one of `images` images; None for a share of 0.

    An image keeps at least half of its mixture.
    """
    if share == 0:
        return None
    mixed = torch.rand(count, generator=generator) < share
    other = torch.randint(images, (count,), generator=generator)
    return Mixtures(other, torch.where(mixed, 0.5 + 0.5 * torch.rand(count, generator=generator), 1.0))


def show(
    images: Callable[[Tensor], Tensor],
    index: Tensor,
    views: Views,
    shift: int,
    preprocessing: Preprocessing,
    *,
    device: torch.device = CPU,
) -> Tensor:
    """Views of the images at `index` (B,), normalised, on `device`: float32 (B, C, S, S).

    `images` gives the pixels of some images: int64 (B,) -> uint8 (B, C, S, S).
    """
    there = Views(moved(views.flip, device), moved(views.dy, device), moved(views.dx, device))
    seen = apply_views(moved(images(index), device), there, shift, preprocessing)
    if views.mixtures is None:
        return seen
    others = apply_views(moved(images(views.mixtures.other), device), there, shift, preprocessing)
    return torch.lerp(others, seen, moved(views.mixtures.own, device).view(-1, 1, 1, 1))


def apply_views(pixels: Tensor, views: Views, shift: int, preprocessing: Preprocessing) -> Tensor:
    """uint8 pixels (B, C, S, S) -> normalised float32 (B, C, S, S), flipped and shifted; edges repeat."""
    count, channels, side, _ = pixels.shape
    x = normalise_batch(pixels, preprocessing)  # (B, C, S, S)
    x = torch.where(views.flip.view(-1, 1, 1, 1), x.flip(-1), x)
    if shift == 0:
        return x
    x = nn.functional.pad(x, [shift] * 4, mode="replicate")  # (B, C, S + 2 shift, S + 2 shift)
    span = torch.arange(side, device=x.device)
    rows = (span + views.dy.view(-1, 1)).view(count, 1, side, 1)
    columns = (span + views.dx.view(-1, 1)).view(count, 1, 1, side)
    images = torch.arange(count, device=x.device).view(-1, 1, 1, 1)
    planes = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return x[images, planes, rows, columns]


class Squares(NamedTuple):
    """Centres of one square in each of B images, by pixel: int64 (B, 1) each."""

    row: Tensor
    column: Tensor

    def take(self, part: slice) -> Squares:
        """Those of a part of the images."""
        return Squares(self.row[part], self.column[part])

    def to(self, device: torch.device) -> Squares:
        """On `device`."""
        return Squares(moved(self.row, device), moved(self.column, device))


def draw_squares(count: int, size: int, side: int, generator: torch.Generator) -> Squares | None:
    """For `count` images of `size` pixels a side; None where the squares' side is 0."""
    if side == 0:
        return None
    # Centres may lie on the border, so that part of the squares is cut off, as in the paper.
    row = torch.randint(size, (count, 1), generator=generator)
    return Squares(row, torch.randint(size, (count, 1), generator=generator))


def erase_squares(images: Tensor, side: int, squares: Squares | None) -> Tensor:
    """Set one square of each image (B, C, S, S) to the mean pixel, in place (DeVries and Taylor, arXiv 1708.04552)."""
    if squares is None:
        return images
    span = torch.arange(images.shape[-1], device=images.device)
    inside_rows = (span - squares.row).abs() * 2 < side  # (B, S)
    inside_columns = (span - squares.column).abs() * 2 < side
    mask = inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1)  # (B, S, S)
    return images.masked_fill_(mask.unsqueeze(1), 0.0)


def normalise_batch(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 (B, C, S, S) -> float32, as `imaging.normalise` does one image."""
    mean = moved(torch.tensor(preprocessing.mean), pixels.device).view(1, -1, 1, 1)
    std = moved(torch.tensor(preprocessing.std), pixels.device).view(1, -1, 1, 1)
    return (pixels.float() / 255.0 - mean) / std
