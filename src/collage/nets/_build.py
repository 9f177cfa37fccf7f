"""A net from its settings, as an experiment file gives them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from collage.nets._collage import CollageNet, CollageNetSettings
from collage.nets._learned import LearnedNetSettings
from collage.nets._residual import ResidualNetSettings
from collage.nets._tiles import TileNet, TileNetSettings, build_backbone
from collage.nets._whitened import WhitenedNetSettings
from collage.nets._yolo import YoloNet, YoloNetSettings

NetSettings = Annotated[
    ResidualNetSettings
    | WhitenedNetSettings
    | CollageNetSettings
    | TileNetSettings
    | YoloNetSettings
    | LearnedNetSettings,
    Field(discriminator="family"),
]


def build_net(settings: NetSettings, *, channels: int, classes: int, grid: int | None) -> nn.Module:
    """A fresh net for `channels` input channels.

    A net for one image gives (B, classes); one for a collage, which needs `grid`, (B, grid * grid, classes + 1): the
    last output of a tile says that there is nothing to see; or boxes, as `YoloNet` does. Raises ValueError where grid
    and family do not fit.
    """
    match settings:
        case ResidualNetSettings() | WhitenedNetSettings():
            if grid is not None:
                raise ValueError(f"a {settings.family} net classifies one image: leave out the grid")
            return build_backbone(settings, channels=channels, classes=classes)
        case CollageNetSettings() | TileNetSettings() | YoloNetSettings():
            if grid is None:
                raise ValueError("a net for collages needs a grid")
            if isinstance(settings, YoloNetSettings):
                return YoloNet(settings, channels=channels, classes=classes, grid=grid)
            if isinstance(settings, TileNetSettings):
                return TileNet(settings, channels=channels, outputs=classes + 1, grid=grid)
            return CollageNet(settings, channels=channels, outputs=classes + 1, grid=grid)
        case LearnedNetSettings():
            raise ValueError("a learned code is made around a single: it is no classifier by itself")
