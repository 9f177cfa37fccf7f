"""Real time: the gateway, from the socket down to the driver of the dispatcher."""

from collage.serving._agreement import Agreement
from collage.serving._asgi import GatewayApp
from collage.serving._dataplane import DataPlane
from collage.serving._event_loop import loop_factory
from collage.serving._fleet import load_fleet
from collage.serving._inputs import Classified, Encoded, ImageInput, Pixels, Tensor
from collage.serving._seen import CollageSeen, TileSeen
from collage.serving._server import serve
from collage.serving._settings import ServingSettings, load_settings
from collage.serving.logs import logs_written

__all__ = [
    "Agreement",
    "Classified",
    "CollageSeen",
    "DataPlane",
    "Encoded",
    "GatewayApp",
    "ImageInput",
    "Pixels",
    "ServingSettings",
    "Tensor",
    "TileSeen",
    "load_fleet",
    "load_settings",
    "logs_written",
    "loop_factory",
    "serve",
]
