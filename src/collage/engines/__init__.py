"""Workers, and what starts and places them."""

from collage.engines._base import CancelEffect, ElasticEngine, Engine, EngineListener, FloatArray, Submission
from collage.engines._local import LocalEngine
from collage.engines._mixed import MixedEngine
from collage.engines._models import Hold
from collage.engines._oip import OipEngine, OipServer
from collage.engines._oip_options import OipOptions, TlsOptions
from collage.engines._oip_wire import RemoteModel, TensorForm
from collage.engines._ray import RayEngine
from collage.engines._ray_cluster import RayOptions

__all__ = [
    "CancelEffect",
    "ElasticEngine",
    "Engine",
    "EngineListener",
    "FloatArray",
    "Hold",
    "LocalEngine",
    "MixedEngine",
    "OipEngine",
    "OipOptions",
    "OipServer",
    "RayEngine",
    "RayOptions",
    "RemoteModel",
    "Submission",
    "TensorForm",
    "TlsOptions",
]
