"""A net from its settings, as an experiment file gives them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from collage.nets._collage import CollageNet, CollageNetSettings
from collage.nets._residual import ResidualNet, ResidualNetSettings
from collage.nets._whitened import WhitenedNet, WhitenedNetSettings

NetSettings = Annotated[
    ResidualNetSettings | WhitenedNetSettings | CollageNetSettings, Field(discriminator="family")
]


def build_net(settings: NetSettings, *, channels: int, classes: int, grid: int | None) -> nn.Module:
    """A fresh net for `channels` input channels.

    A residual net gives (B, classes); a collage net, which needs `grid`, (B, grid * grid, classes + 1): the last output
    of a tile says that there is nothing to see. Raises ValueError where grid and family do not fit.
    """
    match settings:
        case ResidualNetSettings():
            if grid is not None:
                raise ValueError("a residual net classifies one image: leave out the grid")
            return ResidualNet(settings, channels=channels, classes=classes)
        case WhitenedNetSettings():
            if grid is not None:
                raise ValueError("a whitened net classifies one image: leave out the grid")
            return WhitenedNet(settings, channels=channels, classes=classes)
        case CollageNetSettings():
            if grid is None:
                raise ValueError("a collage net needs a grid")
            return CollageNet(settings, channels=channels, outputs=classes + 1, grid=grid)
