"""The edge: a relay between cameras and a thin uplink, and the collage-cnn's server at the link's other end."""

from collage.serving.edge._app import create_edge_app
from collage.serving.edge._canvas_server import CanvasModel, create_canvas_app
from collage.serving.edge._machine import Action, Answer, EdgeMachine, Mode, Refuse, SendCanvas, SendFull
from collage.serving.edge._pictures import canvas_of, jpeg_of, tile_of
from collage.serving.edge._relay import Relay
from collage.serving.edge._serve import serve_canvas, serve_edge
from collage.serving.edge._settings import EdgeSettings, make_edge_settings

__all__ = [
    "Action",
    "Answer",
    "CanvasModel",
    "EdgeMachine",
    "EdgeSettings",
    "Mode",
    "Refuse",
    "Relay",
    "SendCanvas",
    "SendFull",
    "canvas_of",
    "create_canvas_app",
    "create_edge_app",
    "jpeg_of",
    "make_edge_settings",
    "serve_canvas",
    "serve_edge",
    "tile_of",
]
