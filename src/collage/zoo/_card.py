"""A model's card: what the file is, how to feed it, what it was measured to do. One JSON file beside the ONNX file."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.dispatch import Role
from collage.imaging import Preprocessing


class Accuracy(BaseModel):
    """Measured on the dataset's test images; fractions, 0..1."""

    model_config = ConfigDict(extra="forbid")

    test_images: int
    against: Literal["labels", "single"] = Field(
        default="labels", description="what a right answer is; single: the images have no labels"
    )
    accuracy: float = Field(ge=0, le=1, description="A_a of a single or cheap, A_d of a collage with all tiles filled")
    per_position: list[float] | None = Field(
        default=None,
        description="A_d by tile, row by row; of a parity or a learned code, by what is missing",
    )
    per_fill: list[float] | None = Field(default=None, description="A_d by number of filled tiles, from 1")
    agreement: float | None = Field(default=None, description="share of answers equal to the single's")
    ece: float | None = Field(default=None, ge=0, le=1, description="of calibrated confidence, 15 bins")


class Split(BaseModel):
    """Which training images were kept from training: what thresholds and temperatures may be chosen on."""

    model_config = ConfigDict(extra="forbid")

    images: int = Field(ge=1)
    seed: int
    limit: int | None = Field(default=None, description="where only so many training images were used at all")


class Calibration(BaseModel):
    """What makes confidence mean what it says, fitted on validation images (Guo et al., arXiv 1706.04599).

    ECE: top-1 confidence, bins of equal width; the mean distance between a bin's confidence and its accuracy, weighted
    by its answers.
    """

    model_config = ConfigDict(extra="forbid")

    temperature: float = Field(gt=0, description="logits are divided by it before confidence is taken")
    dataset: str
    split: Split
    bins: int
    ece_before: float = Field(ge=0, le=1, description="on the validation images, without the temperature")
    ece_after: float = Field(ge=0, le=1, description="on the validation images, with it")
    confident: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="backups only: from this confidence up, answers are as often right as the single's for the same"
        " images, within 0.1 point; 1 where none are",
    )


class Cost(BaseModel):
    """What one call costs."""

    model_config = ConfigDict(extra="forbid")

    macs: int
    params: int
    macs_ratio: float | None = Field(default=None, description="over one call of the bound single")
    latency_ratio: float | None = Field(default=None, description="measured time over one call of the bound single")


class SecondFile(BaseModel):
    """A further ONNX file of one model."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(description="beside the card")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelCard(BaseModel):
    """Everything that serving needs to know of a model, and what a reader wants to."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str = "1"
    role: Role
    file: str = Field(description="ONNX file, beside the card")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    preprocessing: Preprocessing = Field(description="of one image; for a collage, of one tile")
    classes: list[str] = Field(min_length=2)
    output: Literal["logits", "probabilities"] = "logits"
    grid: int | None = Field(default=None, ge=2, le=5, description="collage only: tiles a side")
    unknown: bool = Field(
        default=False,
        description="collage or batch: the model has one output more a tile, its last, that says 'nothing to see here'",
    )
    head: Literal["classes", "boxes"] = Field(
        default="classes", description="collage only: a row of columns for each tile, or boxes, as a detector gives"
    )
    isolated: bool = Field(default=False, description="collage only: no layer of it crosses a tile's border")
    k: int | None = Field(default=None, ge=2, le=25, description="parity, learned, batch: images in one job")
    encoder: Literal["sum", "concat"] | None = Field(default=None, description="parity only: how one is made of them")
    decoder: SecondFile | None = Field(default=None, description="learned only: `file` encodes, this one decodes")
    single_sha256: str | None = Field(default=None, description="hash of the single this backup was distilled from")
    net: dict[str, Any] | None = Field(
        default=None, description="settings of the torch net that the file was exported from"
    )
    dataset: str = ""
    split: Split | None = Field(default=None, description="validation images, out of the dataset's training images")
    licence: str = ""
    command: str = Field(default="", description="what makes this model again")
    notes: str = ""
    accuracy: Accuracy | None = None
    cost: Cost | None = None
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.role is Role.COLLAGE) != (self.grid is not None):
            raise ValueError("grid belongs to a collage, and every collage needs one")
        if (self.isolated or self.head == "boxes") and self.role is not Role.COLLAGE:
            raise ValueError("isolated and head are said of collages only")
        if (self.role in (Role.PARITY, Role.LEARNED, Role.BATCH)) != (self.k is not None):
            raise ValueError("k belongs to a parity, a learned code or a batch, and each of them needs it")
        if (self.role is Role.PARITY) != (self.encoder is not None):
            raise ValueError("encoder belongs to a parity, and every parity needs one")
        if (self.role is Role.LEARNED) != (self.decoder is not None):
            raise ValueError("decoder belongs to a learned code, and each of them needs one")
        if self.role is not Role.SINGLE and self.single_sha256 is None:
            raise ValueError("single_sha256 is needed: a backup is bound to its single")
        return self

    @property
    def temperature(self) -> float:
        """What logits are divided by before confidence is taken; 1 where nothing was calibrated."""
        return self.calibration.temperature if self.calibration else 1.0

    @property
    def capacity(self) -> int:
        """Queries one call can hold."""
        return self.grid * self.grid if self.grid else self.k or 1

    @property
    def joint(self) -> bool:
        """Whether its output says something only together with the singles' answers: of a parity or a learned code."""
        return self.role in (Role.PARITY, Role.LEARNED)

    @property
    def code(self) -> str:
        """The role, or more exactly what kind of it this is: the name that results go by."""
        if self.encoder is not None:
            return f"parity-{self.encoder}"
        if self.head == "boxes":
            return "collage-yolo"
        return "collage-isolated" if self.isolated else self.role.value
