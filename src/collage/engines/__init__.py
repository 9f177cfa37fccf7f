"""Workers, and what starts and places them."""

from collage.engines._base import CancelEffect, Engine, EngineListener
from collage.engines._local import Hold, LocalEngine

__all__ = ["CancelEffect", "Engine", "EngineListener", "Hold", "LocalEngine"]
