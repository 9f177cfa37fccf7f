"""The study of the edge as its TOML file says it, and what a camera's photograph is."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from collage.serving.edge import Mode


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Photo(_Part):
    """What a camera takes: a small image enlarged, framed with its mirrored edges, and a sensor's noise over it."""

    width: int = Field(default=640, ge=32, le=8192)
    height: int = Field(default=480, ge=32, le=8192)
    quality: int = Field(default=90, ge=30, le=100, description="of the JPEG file")
    noise: float = Field(default=6.0, ge=0, le=64, description="standard deviation, of 255")


class Way(_Part):
    """One way of sending."""

    mode: Mode
    full: Literal["original", "resized"] = "original"
    window: float = Field(default=0.5, ge=0, description="seconds that a tile waits for others, at most")
    patience: float = Field(default=1.0, ge=0, description="beside: seconds")
    uploads: int = Field(default=2, ge=1)

    @property
    def name(self) -> str:
        """In tables and figures."""
        return self.mode.value + ("" if self.full == "original" else ", resized")


class EdgePower(_Part):
    """Who draws what."""

    up_joule_per_megabit: float = Field(default=0.43839, ge=0)
    down_joule_per_megabit: float = Field(default=0.05197, ge=0)
    radio_watts: float = Field(default=1.28804, ge=0, description="while it sends")
    edge_watts: float = Field(default=5.0, ge=0, description="the edge's processor, while it computes")
    server_watts: float = Field(default=90.0, ge=0, description="a worker, while it computes, beyond idle")


class EdgePlan(_Part):
    """One study. Links are Mbit/s, times seconds."""

    single: str = "cifar-10-single"
    backup: str = "cifar-10-collage-3x3"
    dataset: str = "cifar-10"
    links: tuple[float, ...] = Field(default=(2.0, 4.0, 8.0), min_length=1)
    down: float = Field(default=20.0, gt=0)
    rate: float = Field(default=6.0, gt=0, description="images a second")
    seconds: float = Field(default=40.0, gt=0, description="of a measured run")
    simulated: int = Field(default=5000, ge=10, description="images of a simulated run")
    deadline: float = Field(default=8.0, gt=0)
    seed: int = 1
    photo: Photo = Photo()
    ways: tuple[Way, ...] = Field(min_length=1)
    power: EdgePower = EdgePower()

    def arrivals(self, count: int | None = None) -> NDArray[np.float64]:
        """(n,) seconds: Poisson; of a measured run, or so many."""
        rng = np.random.default_rng(self.seed)
        if count is None:
            count = int(rng.poisson(self.rate * self.seconds))
            return np.sort(rng.uniform(0.0, self.seconds, count))
        return np.cumsum(rng.exponential(1 / self.rate, count))


def take_photo(image: Image.Image, photo: Photo, rng: np.random.Generator) -> bytes:
    """A JPEG file of photo's size in whose middle square the image is."""
    side = min(photo.width, photo.height)
    square = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    across, down = photo.width - side, photo.height - side
    frame = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))[: square.ndim]
    whole = np.pad(square, frame, mode="symmetric")
    noisy = whole + np.rint(rng.normal(0.0, photo.noise, whole.shape)).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=photo.quality)
    return file.getvalue()
