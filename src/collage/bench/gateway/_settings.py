"""What is set when servers are compared: one TOML file. Seconds throughout."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from collage.files import load_toml


class Server(StrEnum):
    """Who serves the model. `bare-onnxruntime` is nobody: the model in a loop, the limit."""

    BARE = "bare-onnxruntime"
    COLLAGE_NONE = "collage-none"
    COLLAGE = "collage"
    LITSERVE = "litserve"
    MLSERVER = "mlserver"
    RAY_SERVE = "ray-serve"


class Served(StrEnum):
    """Which model: one that does nothing, so that only the server costs; and a real single."""

    NOOP = "noop"
    SINGLE = "single"


class GatewaySettings(BaseModel):
    """One comparison. Each round starts each server afresh, in another order, with the same load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="gateway", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    servers: tuple[Server, ...] = Field(default=tuple(Server), min_length=1)
    models: tuple[Served, ...] = Field(default=tuple(Served), min_length=1)
    single: str = Field(default="cifar-10-single", description="the real model, by name or path")
    backup: str = Field(default="cifar-10-collage-3x3", description="its collage-cnn, for `collage`")
    workers: int = Field(default=2, ge=1, le=64, description="processes that run the model, one thread each")
    concurrency: tuple[int, ...] = Field(
        default=(2, 4, 16), min_length=1, description="connections of the closed loop; the best one's figure counts"
    )
    warm_seconds: float = Field(default=1.0, ge=0, description="of load before the first figure")
    seconds: float = Field(default=3.0, gt=0, description="of the closed loop at each concurrency")
    half_seconds: float = Field(default=5.0, gt=0, description="of the open loop, at half of what the server can do")
    rounds: int = Field(default=3, ge=1, le=100)
    seed: int = Field(default=1, ge=0)

    def fingerprint(self) -> str:
        """What a journal's rows must agree on. Which servers and models, and how many rounds, may change."""
        text = self.model_dump_json(exclude={"name", "servers", "models", "rounds"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Session(BaseModel):
    """One server with one model in one round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int
    server: Server
    model: Served


def sessions(settings: GatewaySettings) -> list[Session]:
    """All of them, in order: within a round, servers begin at another place each time."""
    found = []
    for turn in range(settings.rounds):
        shift = turn % len(settings.servers)
        order = settings.servers[shift:] + settings.servers[:shift]
        found += [Session(round=turn, server=server, model=model) for model in settings.models for server in order]
    return found


def load_gateway(path: Path) -> GatewaySettings:
    """The file's settings. Raises SettingsError, one line that names the file and the key."""
    return load_toml(path, GatewaySettings)
