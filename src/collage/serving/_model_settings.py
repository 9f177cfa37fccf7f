"""What a `[[models]]` table, or a request to load a model, says of one model."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from collage.serving._setting_types import OptionalCount, OptionalLevel, OptionalNames, OptionalPath

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TAKEN = "stats"  # /v2/models/stats tells of all models


def check_model_name(name: str) -> str:
    """Raises ValueError unless clients can name a model or a version so."""
    if _NAME.fullmatch(name) is None or name == _TAKEN:
        raise ValueError(
            "a model's name, or its version, has letters, digits, '.', '_' and '-', at most 128, a letter or digit"
            f" first, and is not {_TAKEN!r}"
        )
    return name


ModelName = Annotated[str, AfterValidator(check_model_name)]


class ModelSettings(BaseModel):
    """One more model. What is left out is as the settings have it for the first, but for backup, fleet, max_workers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName | None = Field(None, description="what clients call it; left out: as the single's card does")
    version: ModelName | None = Field(None, description="of the model; left out: as the single's card says")
    single: str | None = Field(None, min_length=1, description="the single: a shipped name or a path; needed in a file")
    backup: OptionalNames = Field("auto", description="its backup, as `backup`")
    workers: int | None = Field(None, ge=1, le=256, description="worker processes of its own, as `workers`")
    max_workers: OptionalCount = Field(None, ge=1, le=256, description="they follow the load, up to so many")
    min_workers: int | None = Field(None, ge=1, le=256, description="the fewest, where they follow the load")
    max_batch: int | None = Field(None, ge=1, le=256, description="singles that wait may share a call, up to so many")
    threads: int | None = Field(None, ge=1, le=64, description="threads of one worker's model runtime")
    fleet: OptionalPath = Field(None, description="TOML file that names its workers, as `fleet`")
    policy: str | None = Field(None, min_length=1, description="name of a policy preset")
    policy_overrides: dict[str, Any] | None = Field(None, description="settings of the policy, as `policy_overrides`")
    control_share: float | None = Field(None, ge=0.0, le=1.0, description="share of queries that are controls")
    least_agreement: OptionalLevel = Field("auto", description="below which its backup is switched off")
    max_queue: int | None = Field(None, ge=1, le=100_000, description="queries without an answer; beyond it 503")
