"""What is set under fire: one TOML file. Seconds throughout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.files import load_toml


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OverloadSettings(_Part):
    """More than the fleet can do."""

    times: float = Field(default=3.0, gt=1, le=20, description="of the capacity, queries per second")
    seconds: float = Field(default=120.0, gt=0, description="how long")
    capacity_seconds: float = Field(default=10.0, gt=0, description="of a closed loop, to measure capacity before")
    deadline: float = Field(default=1.0, gt=0, description="what clients ask for")
    queue: int = Field(default=128, ge=1, description="the gateway's max_queue")


class SoakSettings(_Part):
    """One steady load for long."""

    load: float = Field(default=0.7, gt=0, lt=1)
    seconds: float = Field(default=3600.0, gt=0)
    sample_seconds: float = Field(default=10.0, gt=0, description="between two looks at what the gateway holds")
    settle_seconds: float = Field(default=300.0, ge=0, description="at the start, which the slopes leave out")


class FuzzSettings(_Part):
    """Inputs that nobody should send. One of a number is the same wherever it is made."""

    seed: int = Field(default=1, ge=0)
    inputs_inside: int = Field(default=10_000, ge=0, description="of each target that is a function of this package")
    inputs_live: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: {"http-described": 8000, "http": 20_000, "grpc": 20_000},
        description="of each target that is a gateway process",
    )
    chunk: int = Field(default=2000, ge=1, description="inputs after which a run that is stopped need not begin again")
    hang_seconds: float = Field(default=20.0, gt=0, description="what takes longer hangs")
    targets: tuple[str, ...] = Field(default=(), description="which; empty: all")


class ChaosSettings(_Part):
    """Every fault meets the same open-loop load: `before_seconds` without it, `fault_seconds` with it, and after."""

    name: str = Field(default="chaos", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    faults: tuple[str, ...] = Field(default=(), description="which; empty: all")
    workers: int = Field(default=8, ge=2, le=64)
    remotes: int = Field(
        default=3, ge=1, le=16, description="of the workers, those on remote servers, where there are any"
    )
    single_seconds: float = Field(default=0.02, gt=0, description="what a single takes, give or take a fifth")
    collage_seconds: float = Field(default=0.02, gt=0, description="what a collage takes, give or take a fifth")
    load: float = Field(default=0.5, gt=0, lt=1, description="arrival rate x single_seconds / workers")
    deadline: float = Field(default=10.0, gt=0, description="what clients ask for")
    before_seconds: float = Field(default=10.0, gt=0)
    fault_seconds: float = Field(default=10.0, gt=0)
    after_seconds: float = Field(default=15.0, gt=0)
    warm_seconds: float = Field(default=2.0, ge=0, description="of those before, left out of every figure")
    window_seconds: float = Field(default=3.0, gt=0, description="p99 is back to normal when it is for so long")
    normal: float = Field(default=1.5, gt=1, description="times the p99 before is normal")
    seed: int = Field(default=1, ge=0)
    overload: OverloadSettings | None = Field(default_factory=OverloadSettings)
    soak: SoakSettings | None = Field(default_factory=SoakSettings)
    fuzz: FuzzSettings | None = Field(default_factory=FuzzSettings)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.remotes >= self.workers:
            raise ValueError("remotes: fewer than workers are needed")
        if self.warm_seconds >= self.before_seconds:
            raise ValueError("warm_seconds: less than before_seconds is needed")
        return self

    @property
    def capacity(self) -> float:
        """Queries per second that the workers could do if nothing else took time."""
        return self.workers / self.single_seconds

    @property
    def seconds_each(self) -> float:
        """Of load for one fault."""
        return self.before_seconds + self.fault_seconds + self.after_seconds

    def fingerprint(self) -> str:
        """What a journal's rows must agree on. Which faults are run, how long the soak is, and
        what is fuzzed may change."""
        text = self.model_dump_json(exclude={"name", "faults", "overload", "soak", "fuzz"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_chaos(path: Path) -> ChaosSettings:
    """The file's settings. Raises SettingsError, one line that names the file and the key."""
    return load_toml(path, ChaosSettings)
