"""The torch models, one family a file. Needs the `train` extra."""

from collage.nets._build import NetSettings, build_net
from collage.nets._collage import CollageNet, CollageNetSettings
from collage.nets._cost import count_macs, count_params
from collage.nets._learned import Decoder, LearnedNet, LearnedNetSettings
from collage.nets._residual import ResidualNet, ResidualNetSettings
from collage.nets._tiles import TileNet, TileNetSettings
from collage.nets._whitened import WhitenedNet, WhitenedNetSettings
from collage.nets._yolo import YoloNet, YoloNetSettings

__all__ = [
    "CollageNet",
    "CollageNetSettings",
    "Decoder",
    "LearnedNet",
    "LearnedNetSettings",
    "NetSettings",
    "ResidualNet",
    "ResidualNetSettings",
    "TileNet",
    "TileNetSettings",
    "WhitenedNet",
    "WhitenedNetSettings",
    "YoloNet",
    "YoloNetSettings",
    "build_net",
    "count_macs",
    "count_params",
]
