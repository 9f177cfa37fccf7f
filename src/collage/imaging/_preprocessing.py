"""How an image becomes a model's input: as the model's own card says, in training, evaluation, bench and serving."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Interpolation = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]


class Preprocessing(BaseModel):
    """One model's preprocessing.

    An image is turned to `channels`, its shorter side is resized to `resize`, the centre `size` x `size` is cut out,
    pixels are scaled to 0..1, and `(x - mean) / std` is taken per channel. The result is float32 (C, size, size).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=1, le=4096, description="side of the square input, pixels")
    resize: int | None = Field(default=None, ge=1, le=8192, description="shorter side before the crop; None: `size`")
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each, one per channel")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) must be at least size ({self.size})")
        return self


def useful_side(*preprocessings: Preprocessing) -> int | None:
    """Pixels to which an image's shorter side is resized, at most, for these; None: one of them picks out pixels."""
    if any(one.interpolation == "nearest" for one in preprocessings):
        return None
    return max(one.resize or one.size for one in preprocessings)
