"""Workers, and what starts and places them."""

from collage.engines._base import CancelEffect, Engine, EngineListener

__all__ = ["CancelEffect", "Engine", "EngineListener"]
