"""What one session found."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from collage.bench.gateway._settings import Session


class Cell(BaseModel):
    """One closed loop. Microseconds of CPU are by query."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: int = Field(description="that ask; 0: nobody does")
    rps: float = Field(description="answers per second")
    p50_ms: float
    p99_ms: float
    bad: int = Field(description="answers that were none, or not 200")
    server_us: float | None = Field(description="of all the server's processes")
    process_us: float | None = Field(description="of the server's first process; of Collage: the gateway")
    client_us: float


class SessionResult(BaseModel):
    """One server with one model in one round. half: at half of the best rps of this session, open loop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: Session
    version: str
    settings: dict[str, Any]
    cells: list[Cell]
    half_rate: float
    half_p50_ms: float
    half_p99_ms: float
    bad: int
