"""One training, as a TOML file in experiments/ describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.codes import concat_layout
from collage.dispatch import Role
from collage.files import load_toml
from collage.imaging import Preprocessing
from collage.nets import LearnedNetSettings, NetSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(_Section):
    """What is trained."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    role: Role
    grid: int | None = Field(default=None, ge=2, le=5, description="collage only")
    k: int | None = Field(default=None, ge=2, le=16, description="parity and learned only: images in one")
    encoder: Literal["sum", "concat"] | None = Field(default=None, description="parity only: how one is made of them")
    licence: str = "Apache-2.0"
    net: NetSettings

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.role is Role.COLLAGE) != (self.grid is not None):
            raise ValueError("grid belongs to a collage, and every collage needs one")
        if (self.role in (Role.PARITY, Role.LEARNED)) != (self.k is not None):
            raise ValueError("k belongs to a parity or a learned code, and each of them needs it")
        if (self.role is Role.PARITY) != (self.encoder is not None):
            raise ValueError("encoder belongs to a parity, and every parity needs one")
        if (self.role is Role.LEARNED) != isinstance(self.net, LearnedNetSettings):
            raise ValueError("a net of the learned family belongs to a learned code, and each of them needs one")
        if self.role is Role.BATCH:
            raise ValueError("a batch is not trained: export a collage of the family 'tiles' with --as batch")
        return self


class DataSettings(_Section):
    """What it is trained on."""

    dataset: str = Field(description="a named dataset or an image folder")
    validation: int = Field(default=5000, ge=1, description="images taken from the training split")
    split_seed: int = Field(default=0, description="draws the validation images: the same for a single and its backups")
    limit: int | None = Field(default=None, ge=4, description="use only so many training images")
    classes: list[str] | None = Field(default=None, description="the single's, for images without labels of their own")

    @property
    def name(self) -> str:
        """The dataset's: of a folder, no more than its own name, as its path is nobody else's business."""
        return Path(self.dataset).name


class AugmentSettings(_Section):
    """Random changes of a training image. A teacher sees the same, but for the erased square."""

    flip: bool = True
    shift: int = Field(default=2, ge=0, le=16, description="pixels, each way")
    mix: float = Field(default=0.0, ge=0, le=1, description="share of the views that are blended with another image")
    paste: float = Field(default=0.0, ge=0, le=1, description="share of them that another image's square is pasted on")
    warp: float = Field(default=0.0, ge=0, le=1, description="1: turned up to 30 degrees, sheared and scaled up to 0.3")
    tone: float = Field(default=0.0, ge=0, le=1, description="1: brightness, contrast and saturation by up to half")
    erase: int = Field(default=8, ge=0, le=64, description="side of a square of mean pixels, made odd: 8 is 7; 0: none")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.mix + self.paste > 1:
            raise ValueError("mix and paste are shares of the same views, and together at most 1")
        return self


class DistillSettings(_Section):
    """What a backup learns from its single, or a single from a larger one (Hinton et al., arXiv 1503.02531).

    A parity learns sums of outputs: `weight` is the share of the answers rebuilt from it, the rest is squared error.
    """

    weight: float = Field(default=0.9, ge=0, le=1, description="of the single's soft outputs; the rest is the labels'")
    temperature: float = Field(default=2.0, gt=0, le=20)
    views: int = Field(default=4, ge=1, le=64, description="augmented views of each image that the single answers once")
    views_seed: int = Field(default=0, description="draws them: trainings of other seeds then ask no teacher again")
    blank: float = Field(default=0.15, ge=0, lt=1, description="share of collages with some tiles blank")
    strange: float = Field(
        default=0.02, ge=0, lt=1, description="share of tiles that show nothing, a plain colour or noise: unknown too"
    )


class LoopSettings(_Section):
    """How long and how fast."""

    epochs: int = Field(ge=1)
    batch: int = Field(default=128, ge=1, description="images, or collages, a step")
    learning_rate: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup: float = Field(default=0.15, ge=0, lt=1, description="share of the steps")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    ema: float = Field(default=0.998, ge=0, lt=1, description="decay of the averaged weights that are kept")
    evaluate_every: int = Field(default=1, ge=1, description="epochs")
    steps: int | None = Field(default=None, ge=1, description="of an epoch of collages; None: a tile for each image")
    minutes: float | None = Field(default=None, gt=0, description="time limit, which the learning rate then follows")
    give_up: int | None = Field(
        default=None, ge=1, description="with minutes: evaluations without a gain, then the rate falls to its end"
    )
    bfloat16: bool = True
    seed: int = 0
    start: Path | None = Field(
        default=None, description="folder of a training whose averaged weights this one begins with; None: fresh ones"
    )


class TrainingSettings(_Section):
    """The whole file."""

    model: ModelSettings
    preprocessing: Preprocessing
    data: DataSettings
    augment: AugmentSettings = AugmentSettings()
    distill: DistillSettings | None = None
    train: LoopSettings

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.model.role is not Role.SINGLE and self.distill is None:
            raise ValueError("a backup needs a [distill] table")
        if self.augment.mix + self.augment.paste and self.model.net.family in ("learned", "yolo"):
            raise ValueError("augment.mix and paste: what a mixture shows is no one label, from which this learns too")
        if self.model.k is not None and self.model.encoder == "concat":
            concat_layout(self.model.k, self.preprocessing.size)  # raises for what does not divide
        return self


def load_training(path: Path) -> TrainingSettings:
    """Read an experiment file. Raises SettingsError, naming the key, for a file that is absent or wrong."""
    return load_toml(path, TrainingSettings)


def change_training(
    settings: TrainingSettings,
    *,
    seed: int | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    start: Path | None = None,
) -> TrainingSettings:
    """The same training with another seed, length, number of training images or beginning. None: the file's own.

    With a limit, validation takes at most a quarter of the images.
    """
    loop, data = settings.train, settings.data
    if seed is not None:
        loop = loop.model_copy(update={"seed": seed})
    if epochs is not None:
        loop = loop.model_copy(update={"epochs": epochs})
    if start is not None:
        loop = loop.model_copy(update={"start": start})
    if limit is not None:
        data = data.model_copy(update={"limit": limit, "validation": min(data.validation, limit // 4)})
    return settings.model_copy(update={"train": loop, "data": data})
