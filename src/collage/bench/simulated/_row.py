"""The rows of a simulated experiment: what its points say, pooled over seeds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Estimate(BaseModel):
    """A figure and its 95% interval over seeds; with one seed the interval is the figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


class SimulatedRow(BaseModel):
    """One policy with one value of its knobs in one cell. Seconds, fractions, joules; warm-up is in no figure.

    `overloaded`: the policy asks for nearly all of the workers' time or more, so that its queue grows as long as the
    load lasts. Its latencies are then those of a run of this length, and of no other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    cell: tuple[tuple[str, Any], ...] = Field(description="the axes' values")
    label: str
    preset: str
    entry: int = Field(description="which of the experiment's policies, from 0")
    knobs: tuple[tuple[str, Any], ...] = Field(description="the values of what was swept or tuned")
    kept: bool = Field(default=True, description="false: tried in a tuning, and not the best")
    default: bool = Field(description="the preset that `collage serve` uses, unchanged")
    ours: bool = Field(description="the policy that sentences are about")
    yardstick: bool = Field(description="of a world without stragglers, or with foresight: no rival")
    code: str
    x: Any = Field(default=None, description="where the figure draws it")
    straggler: str
    cancel: str
    load: float | None
    workers: int
    grid: int | None
    capacity: int
    metric: str = Field(description="query, or round")
    seeds: list[int]
    requests: int = Field(description="counted answers of all seeds")
    rejected: int
    overloaded: bool
    scale: float
    metrics: dict[str, Estimate]
    sources: dict[str, int] = Field(description="answers by source")
    a_o: float
    a_a: float
    backups_per_query: float
    worker_seconds: float

    @property
    def p99(self) -> float:
        """The figure that policies are compared by, seconds: p99 of queries; with rounds, of rounds."""
        found = self.metrics.get(self.compared)
        return found.value if found else float("inf")  # no query was answered

    @property
    def compared(self) -> str:
        """The name of that figure."""
        return "round_p99" if self.metric == "round" else "p99"

    @property
    def extra_work(self) -> float:
        """Worker-seconds beyond the singles', over the singles'."""
        return self.metrics["extra_work"].value
