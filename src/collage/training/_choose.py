"""Which collage-cnn to distil: the tile's size and the net's width, by what a call may cost."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import torch

from collage.nets import ResidualNetSettings, TileNetSettings, WhitenedNetSettings, build_net, count_macs

_WHOLE = 72  # pixels: smaller images go on a tile as they are
_TILE = 64  # what larger ones are scaled to
_SMALLEST = 16  # pixels of a tile that is halved because nothing else is cheap enough
_FULL = 36  # up to here, the first convolution sees every pixel; above, every second

_WIDTHS = (4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256)
_DEEP = 96  # from this width on, a stage has two blocks: more depth is then worth more than more width
_WHITENED = 12  # from this width on, small tiles get a whitened net: it learns faster, but is dear when narrow


class Choice(NamedTuple):
    """A collage-cnn."""

    tile: int  # pixels
    net: TileNetSettings

    def macs(self, *, grid: int, channels: int, classes: int) -> int:
        """Multiply-accumulates of a call."""
        with torch.device("meta"):  # shapes without values
            net = build_net(self.net, channels=channels, classes=classes, grid=grid)
            return count_macs(net, (1, channels, grid * self.tile, grid * self.tile))


def choose_nets(
    budget: int, *, size: int, grid: int, channels: int, classes: int, tile: int | None = None
) -> list[Choice]:
    """Tile-isolated nets whose call costs at most `budget` multiply-accumulates, the dearest first.

    `size`: side of the single's image, pixels; `tile`: of the tile, where it is said. Where nothing is as cheap as
    that, the first convolution skips pixels, then tiles are halved, down to 16 pixels; the cheapest of all is given
    where even that is too dear.
    """

    def fitting(choices: list[Choice]) -> list[Choice]:
        most = bisect_right(choices, budget, key=lambda one: one.macs(grid=grid, channels=channels, classes=classes))
        return choices[:most][::-1]

    side = tile or tile_size(size)
    while True:
        stride = 1 if side <= _FULL else 2
        if stride == 1 and (found := fitting([_whitened(side, width) for width in _WIDTHS if width >= _WHITENED])):
            return [*found, *(_residual(side, stride, width) for width in (20, 12, 8, 4))]  # for little time
        for skipped in (stride, 2 * stride):
            if found := fitting([_residual(side, skipped, width) for width in _WIDTHS]):
                return found
        smaller = side // 2 // 4 * 4
        if tile is not None or smaller < _SMALLEST:
            return [_residual(side, 2 * stride, _WIDTHS[0])]
        side = smaller


def tile_size(size: int) -> int:
    """Side of the tile for a single's images of `size` pixels."""
    return size if size <= _WHOLE else _TILE


def _whitened(side: int, width: int) -> Choice:
    widths = (width, 3 * width, 9 * width // 2)
    return Choice(side, TileNetSettings(backbone=WhitenedNetSettings(widths=widths, depth=3, squeeze=True)))


def _residual(side: int, stride: int, width: int) -> Choice:
    blocks = 2 if width >= _DEEP else 1
    backbone = ResidualNetSettings(
        stem=max(4, width // 2), stem_stride=stride, widths=(width, 2 * width, 4 * width), blocks=(blocks,) * 3
    )
    return Choice(side, TileNetSettings(backbone=backbone))
