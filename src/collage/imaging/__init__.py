"""Bytes -> image -> tensor, and nothing else: one preprocessing for every path."""

from collage.imaging._decode import ImageLimits, decode_image
from collage.imaging._preprocessing import Interpolation, Preprocessing, useful_side
from collage.imaging._tensor import denormalise, image_from_pixels, normalise, to_pixels, to_tensor

__all__ = [
    "ImageLimits",
    "Interpolation",
    "Preprocessing",
    "decode_image",
    "denormalise",
    "image_from_pixels",
    "normalise",
    "to_pixels",
    "to_tensor",
    "useful_side",
]
