"""Augmented views of training images, drawn and applied a batch at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from collage.imaging import Preprocessing
from collage.training._settings import AugmentSettings


class Views(NamedTuple):
    """How each of B images is changed: flip bool (B,), dy and dx int64 (B,), from 0 to 2 * shift; `shift` is none."""

    flip: Tensor
    dy: Tensor
    dx: Tensor

    def take(self, index: Tensor | slice) -> Views:
        """The views at `index`."""
        return Views(self.flip[index], self.dy[index], self.dx[index])

    def scaled(self, shift: int, factor: float) -> tuple[Views, int]:
        """The same views of pictures `factor` times as large, to the nearest pixel, and the shift that is theirs."""
        wide = round(shift * factor)
        dy, dx = (((d - shift) * factor).round().long() + wide for d in (self.dy, self.dx))
        return Views(self.flip, dy, dx), wide


def draw_views(count: int, settings: AugmentSettings, generator: torch.Generator) -> Views:
    """Views of `count` images at random."""
    side = 2 * settings.shift + 1
    flip = torch.rand(count, generator=generator) < 0.5 if settings.flip else torch.zeros(count, dtype=torch.bool)
    return Views(
        flip,
        torch.randint(side, (count,), generator=generator),
        torch.randint(side, (count,), generator=generator),
    )


def apply_views(pixels: Tensor, views: Views, shift: int, preprocessing: Preprocessing) -> Tensor:
    """uint8 pixels (B, C, S, S) -> normalised float32 (B, C, S, S), flipped and shifted; edges repeat."""
    count, channels, side, _ = pixels.shape
    x = normalise_batch(pixels, preprocessing)  # (B, C, S, S)
    x = torch.where(views.flip.view(-1, 1, 1, 1), x.flip(-1), x)
    if shift == 0:
        return x
    x = nn.functional.pad(x, [shift] * 4, mode="replicate")  # (B, C, S + 2 shift, S + 2 shift)
    rows = (torch.arange(side) + views.dy.view(-1, 1)).view(count, 1, side, 1)
    columns = (torch.arange(side) + views.dx.view(-1, 1)).view(count, 1, 1, side)
    images = torch.arange(count).view(-1, 1, 1, 1)
    planes = torch.arange(channels).view(1, -1, 1, 1)
    return x[images, planes, rows, columns]


class Squares(NamedTuple):
    """Centres of one square in each of B images, by pixel: int64 (B, 1) each."""

    row: Tensor
    column: Tensor

    def take(self, part: slice) -> Squares:
        """Those of a part of the images."""
        return Squares(self.row[part], self.column[part])


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
    span = torch.arange(images.shape[-1])
    inside_rows = (span - squares.row).abs() * 2 < side  # (B, S)
    inside_columns = (span - squares.column).abs() * 2 < side
    mask = inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1)  # (B, S, S)
    return images.masked_fill_(mask.unsqueeze(1), 0.0)


def normalise_batch(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 (B, C, S, S) -> float32, as `imaging.normalise` does one image."""
    mean = torch.tensor(preprocessing.mean).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, -1, 1, 1)
    return (pixels.float() / 255.0 - mean) / std
