"""How an edge is set up."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collage.exceptions import SettingsError
from collage.files import first_problem
from collage.serving.edge._machine import Mode


class EdgeSettings(BaseModel):
    """One relay. Immutable; seconds throughout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: str = Field(description="URL of the gateway that full images go to")
    collage: str | None = Field(default=None, description="URL of the server of the collage-cnn; not for mode all")
    mode: Mode = Field(default=Mode.BESIDE, description="what is sent: all, beside, collage-first")
    full: Literal["original", "resized"] = Field(
        default="original", description="a full image as it came, or resized to what the single takes in"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8070, ge=0, le=65535, description="TCP port; 0 picks a free one and prints it")
    uploads: int = Field(default=2, ge=1, le=64, description="full images on their way at a time")
    window: float = Field(default=0.1, ge=0, le=60, description="the longest that a tile waits for others")
    patience: float = Field(
        default=1.0, ge=0, le=600, description="beside: how long the full image's answer is preferred"
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="collage-first: a surer tile answers; absent: the one in the backup's card",
    )
    quality: int = Field(default=90, ge=30, le=100, description="of JPEG files that are made here")
    api_key_env: str | None = Field(default=None, description="environment variable that holds the gateway's API key")
    timeout: float = Field(default=30.0, gt=0, le=600, description="of one call upstream")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.collage is None) != (self.mode is Mode.ALL):
            raise ValueError(
                "collage: the URL of a collage-cnn's server is needed, but for mode all, which has no use for it"
            )
        return self


def make_edge_settings(**values: Any) -> EdgeSettings:
    """Settings from plain values; None is as if left out. Raises SettingsError that names the key."""
    try:
        return EdgeSettings.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(f"edge: {first_problem(error)}") from None
