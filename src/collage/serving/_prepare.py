"""Whatever a client sends -> the tensors that jobs are made of, checked, each image decoded once.

Pure functions of the models' preprocessing: they run on any thread.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collage.exceptions import InvalidInput, TooLarge
from collage.imaging import (
    ImageLimits,
    Preprocessing,
    decode_image,
    denormalise,
    image_from_pixels,
    to_tensor,
    useful_side,
)
from collage.serving._inputs import Encoded, ImageInput, Pixels, Tensor

FloatArray = NDArray[np.float32]

# What is below all of these takes less time than to hand it to another thread and back (0.1 ms), by the header alone.
_LIGHT = ImageLimits(max_bytes=8 * 1024, max_pixels=128 * 128)
_LIGHT_TENSOR_BYTES = 256 * 1024
# In a tensor. From far larger ones a good model makes what is not finite, and a good worker would be blamed for it.
_MOST_VALUE = 1e6


class Prepared(NamedTuple):
    """One query's tensors: for the single, and for each backup model in order; one array where they agree.

    digest: of all of them, where queries may share jobs: the same for the same decoded image only.
    """

    single: FloatArray  # (C, H, W)
    tiles: tuple[FloatArray, ...] = ()  # (C, H', W') each
    digest: bytes | None = None


class Preparer:
    """Makes queries' tensors. tiles: each backup model's preprocessing of one image; digests: whether they are made."""

    def __init__(
        self, single: Preprocessing, tiles: Sequence[Preprocessing], limits: ImageLimits, *, digests: bool = False
    ) -> None:
        self._single = single
        self._digests = digests
        self._tiles = tuple(tiles)
        self._others = [tile for tile in dict.fromkeys(tiles) if tile != single]
        # One decode for all, at a size that serves the largest.
        sides = [useful_side(single, tile) for tile in self._tiles or (single,)]
        known = [side for side in sides if side is not None]
        self._shorter = max(known) if len(known) == len(sides) else None
        self._limits = limits
        self._light = ImageLimits(min(limits.max_bytes, _LIGHT.max_bytes), min(limits.max_pixels, _LIGHT.max_pixels))
        self._shape = (single.channels, single.size, single.size)

    def prepare_light(self, image: ImageInput, field: str) -> Prepared | None:
        """One image, where it is small enough to be prepared on the event loop; else None. Raises as `prepare`."""
        if isinstance(image, Tensor):
            light = not self._others and image.array.nbytes <= _LIGHT_TENSOR_BYTES
            return self._of_tensor(image.array, field) if light else None
        if not isinstance(image, Encoded):
            return None
        try:
            return self._of_picture(decode_image(image.data, self._light, field=field))
        except TooLarge:
            return None

    def prepare(self, image: ImageInput, field: str) -> Prepared:
        """One image. Raises InvalidInput (or InvalidImage, TooLarge) that names the field."""
        match image:
            case Encoded(data):
                return self._of_picture(decode_image(data, self._limits, field=field, shorter=self._shorter))
            case Pixels(array):
                return self._of_picture(self._picture(array, field))
            case Tensor(array):
                return self._of_tensor(array, field)
        raise TypeError(f"{type(image).__name__} is no image input")

    def _of_picture(self, picture: Image.Image) -> Prepared:
        return self._prepared(to_tensor(picture, self._single), lambda tile: to_tensor(picture, tile))

    def _picture(self, array: NDArray[np.uint8], field: str) -> Image.Image:
        if math.prod(array.shape[:2]) > self._limits.max_pixels:
            raise TooLarge(f"{array.shape} pixels; at most {self._limits.max_pixels:,} in all are allowed", field=field)
        return image_from_pixels(array, field=field)

    def _of_tensor(self, array: FloatArray, field: str) -> Prepared:
        if array.dtype != np.float32 or array.shape != self._shape:
            raise InvalidInput(f"{array.dtype} {array.shape}; float32 {self._shape} is needed", field=field)
        if not np.isfinite(array).all():
            raise InvalidInput("holds NaN or infinite values", field=field)
        if max(float(array.max()), -float(array.min())) > _MOST_VALUE:
            raise InvalidInput(f"holds values beyond ±{_MOST_VALUE:,.0f}, as no normalised image does", field=field)
        if not self._others:
            return self._prepared(array, lambda tile: array)
        picture = image_from_pixels(denormalise(array, self._single))
        # A client's tensor shows what the single's crop left over: all of it goes on the tile, with no second crop.
        return self._prepared(array, lambda tile: to_tensor(picture, tile.model_copy(update={"resize": None})))

    def _prepared(self, single: FloatArray, make: Callable[[Preprocessing], FloatArray]) -> Prepared:
        """Each tensor once, however many models take it."""
        if not self._others and not self._digests:
            return Prepared(single, (single,) * len(self._tiles))
        made = {tile: make(tile) for tile in self._others} | {self._single: single}
        digest = _digest(made.values()) if self._digests else None
        return Prepared(single, tuple(made[tile] for tile in self._tiles), digest)


def _digest(tensors: Iterable[FloatArray]) -> bytes:
    """A cryptographic one: no client can make an image that passes for another's. About 1 ms for 224 x 224."""
    found = hashlib.blake2b(digest_size=32)
    for tensor in tensors:
        found.update(np.ascontiguousarray(tensor).data)
    return found.digest()
