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

    `boxes`, float32 (B, 4): where the other image covers it, as top, bottom, left and right, 0..1 of the side; empty
    where the two are blended. Sources: mixup (Zhang et al., arXiv 1710.09412), CutMix (Yun et al., arXiv 1905.04899).
    A teacher knows best what a mixture shows, and from many of them a student learns what it does between the images
    (Beyer et al., arXiv 2106.05237).
    """

    other: Tensor
    own: Tensor
    boxes: Tensor

    def take(self, index: Tensor | slice) -> Mixtures:
        """Those at `index`."""
        return Mixtures(self.other[index], self.own[index], self.boxes[index])

    def to(self, device: torch.device) -> Mixtures:
        """On `device`."""
        return Mixtures(moved(self.other, device), moved(self.own, device), moved(self.boxes, device))

    def weights(self, side: int) -> Tensor:
        """Each pixel's share of its own image: (B, 1, side, side)."""
        middles = (torch.arange(side, device=self.own.device) + 0.5) / side
        top, bottom, left, right = self.boxes.unsqueeze(2).unbind(1)  # (B, 1) each
        rows, columns = (top <= middles) & (middles < bottom), (left <= middles) & (middles < right)  # (B, side)
        covered = rows.unsqueeze(2) & columns.unsqueeze(1)  # (B, side, side)
        blended = (bottom == top).unsqueeze(2)  # (B, 1, 1)
        return torch.where(blended, self.own.view(-1, 1, 1), 1 - covered.float()).unsqueeze(1)


class Looks(NamedTuple):
    """How each of B images is distorted: `warp`, float32 (B, 2, 2), turns, shears and scales it about its middle;
    `tone`, float32 (B, 3), adds to its brightness and multiplies its contrast and its saturation.
    """

    warp: Tensor
    tone: Tensor

    def take(self, index: Tensor | slice) -> Looks:
        """Those at `index`."""
        return Looks(self.warp[index], self.tone[index])

    def to(self, device: torch.device) -> Looks:
        """On `device`."""
        return Looks(moved(self.warp, device), moved(self.tone, device))


class Views(NamedTuple):
    """How each of B images is changed: flip bool (B,), dy and dx int64 (B,), from 0 to 2 * shift; `shift` is none.

    `mixtures`: None where no image is mixed with another. `looks`: None where none is distorted.
    """

    flip: Tensor
    dy: Tensor
    dx: Tensor
    mixtures: Mixtures | None = None
    looks: Looks | None = None

    def take(self, index: Tensor | slice) -> Views:
        """The views at `index`."""
        return Views(
            self.flip[index],
            self.dy[index],
            self.dx[index],
            self.mixtures and self.mixtures.take(index),
            self.looks and self.looks.take(index),
        )

    def to(self, device: torch.device) -> Views:
        """On `device`."""
        return Views(
            moved(self.flip, device),
            moved(self.dy, device),
            moved(self.dx, device),
            self.mixtures and self.mixtures.to(device),
            self.looks and self.looks.to(device),
        )

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
        return self._replace(dy=dy, dx=dx), wide


def draw_views(count: int, images: int, settings: AugmentSettings, generator: torch.Generator) -> Views:
    """Views of `count` images at random, of which some are mixed with one of `images` images."""
    side = 2 * settings.shift + 1
    flip = torch.rand(count, generator=generator) < 0.5 if settings.flip else torch.zeros(count, dtype=torch.bool)
    return Views(
        flip,
        torch.randint(side, (count,), generator=generator),
        torch.randint(side, (count,), generator=generator),
        _draw_mixtures(count, images, settings, generator),
        _draw_looks(count, settings, generator),
    )


def _draw_mixtures(count: int, images: int, settings: AugmentSettings, generator: torch.Generator) -> Mixtures | None:
    """An image keeps at least half of what it is mixed with. None where none is to be mixed."""
    if settings.mix == settings.paste == 0:
        return None
    kind = torch.rand(count, generator=generator)
    other = torch.randint(images, (count,), generator=generator)
    own = torch.where(kind < settings.mix + settings.paste, 0.5 + 0.5 * torch.rand(count, generator=generator), 1.0)
    boxes = torch.zeros(count, 4)
    if settings.paste:
        pasted = (settings.mix <= kind) & (kind < settings.mix + settings.paste)
        side = (1 - own).sqrt()  # of a square of the other's share
        corner = torch.rand(2, count, generator=generator) * (1 - side)  # top and left
        boxes = torch.stack([corner[0], corner[0] + side, corner[1], corner[1] + side], 1) * pasted.unsqueeze(1)
    return Mixtures(other, own, boxes)


def _draw_looks(count: int, settings: AugmentSettings, generator: torch.Generator) -> Looks | None:
    """None where nothing is to be distorted. At 1: 30 degrees, 0.3 of shear and of size, half of the tones."""
    if settings.warp == settings.tone == 0:
        return None
    draws = 2 * torch.rand(count, 7, generator=generator) - 1  # -1..1
    angle, shear, *sizes = (settings.warp * draws[:, :4] * torch.tensor([torch.pi / 6, 0.3, 0.3, 0.3])).unbind(1)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    lean = torch.stack([1 + sizes[0], shear, torch.zeros(count), 1 + sizes[1]], 1).view(-1, 2, 2)
    tone = settings.tone * 0.5 * draws[:, 4:] + torch.tensor([0.0, 1.0, 1.0])
    return Looks(turn @ lean, tone)


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
    there = views.to(device)
    seen = apply_views(moved(images(index), device), there, shift, preprocessing)
    if views.mixtures is None or there.mixtures is None:
        return seen
    others = apply_views(moved(images(views.mixtures.other), device), there, shift, preprocessing)
    return torch.lerp(others, seen, there.mixtures.weights(seen.shape[-1]))


def apply_views(pixels: Tensor, views: Views, shift: int, preprocessing: Preprocessing) -> Tensor:
    """uint8 pixels (B, C, S, S) -> normalised float32 (B, C, S, S), flipped, shifted, distorted; edges repeat."""
    count, channels, side, _ = pixels.shape
    x = normalise_batch(pixels, preprocessing)  # (B, C, S, S)
    x = torch.where(views.flip.view(-1, 1, 1, 1), x.flip(-1), x)
    if shift > 0:
        x = nn.functional.pad(x, [shift] * 4, mode="replicate")  # (B, C, S + 2 shift, S + 2 shift)
        span = torch.arange(side, device=x.device)
        rows = (span + views.dy.view(-1, 1)).view(count, 1, side, 1)
        columns = (span + views.dx.view(-1, 1)).view(count, 1, 1, side)
        images = torch.arange(count, device=x.device).view(-1, 1, 1, 1)
        planes = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
        x = x[images, planes, rows, columns]
    return x if views.looks is None else _distort(x, views.looks)


def _distort(x: Tensor, looks: Looks) -> Tensor:
    """Images (B, C, S, S), normalised, by their looks."""
    still = nn.functional.pad(looks.warp, (0, 1))  # (B, 2, 3): the middle stays
    places = nn.functional.affine_grid(still, list(x.shape), align_corners=False)  # (B, S, S, 2)
    x = nn.functional.grid_sample(x, places, padding_mode="border", align_corners=False)
    brightness, contrast, saturation = looks.tone.view(-1, 3, 1, 1, 1).unbind(1)  # (B, 1, 1, 1) each
    grey = x.mean(1, keepdim=True)  # (B, 1, S, S)
    x = torch.lerp(grey, x, saturation)
    middle = grey.mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    return torch.lerp(middle, x, contrast) + brightness


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
