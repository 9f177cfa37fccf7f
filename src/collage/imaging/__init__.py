"""Bytes -> image -> tensor, and nothing else: one preprocessing for every path."""

from collage.imaging._preprocessing import Interpolation, Preprocessing

__all__ = ["Interpolation", "Preprocessing"]
