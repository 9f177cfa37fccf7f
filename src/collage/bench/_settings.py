"""One experiment with real workers, as its TOML file says it. Every time is in seconds of the trace, before scaling."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.dispatch import PRESETS, Policy, get_policy, worker_roles
from collage.exceptions import SettingsError
from collage.files import load_toml
from collage.simulation import EpisodeTimes, ProfileTimes, ServiceTimes, TraceTimes, load_profile, load_times

# Independently slow jobs; workers whose drawn times are slow for a while; and, with no slow draws at all, worker
# processes that are really stopped, that share a core with busy ones, or whose network is slow.
Straggler = Literal["iid", "episodes", "stopped", "hogged", "delayed"]
REALLY: tuple[Straggler, ...] = ("stopped", "hogged", "delayed")

# Rivals that are not presets: each is before a gateway with the preset `none`, and takes numbers of the second one.
RIVALS = {"hedge-python": "hedge"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Models(_Part):
    """A model per role: a shipped name or a path. A role that no policy uses may be absent."""

    single: str = "fashion-mnist-single"
    collage: str | None = "fashion-mnist-collage-3x3"
    cheap: str | None = "fashion-mnist-collage-3x3-cheap"
    batch: str | None = None
    parity: str | None = None
    learned: str | None = None


class Times(_Part):
    """What one call of the single takes: every job is padded up to a draw, after its model has really run."""

    profile: str = Field(default="resnet34-cpu", description="a shipped profile, or a profile's file")
    trace: Path | None = Field(default=None, description="draw from this trace itself instead (not for episodes)")
    scale: float = Field(default=1.0, gt=0, le=10, description="every drawn time is multiplied by this")
    normal_seconds: float = Field(default=60.0, gt=0, description="all but iid: mean length of a worker's normal time")
    slow_seconds: float = Field(default=3.0, gt=0, description="episodes: mean length of a slow one")
    stopped_seconds: float = Field(default=1.0, gt=0, description="stopped: mean length of a stop")
    hogged_seconds: float = Field(default=3.0, gt=0, description="hogged: mean length of a worker's time beside hogs")
    hogs: int = Field(default=4, ge=1, le=64, description="hogged: busy processes on the one core, beside the worker")
    delayed_seconds: float = Field(default=3.0, gt=0, description="delayed: mean length of a slow time of a link")
    delay: float = Field(default=0.3, gt=0, description="delayed: what such a link takes longer, each way")


class CallCost(_Part):
    """What a backup's call takes: ratio x (a draw of the single's) + overhead."""

    ratio: float | None = Field(default=None, gt=0, le=10, description="absent: as measured, from the model's card")
    overhead: float = Field(default=0.0, ge=0, description="seconds a call takes whatever its model")


class Costs(_Part):
    """What a backup's call takes, by model. A replica is a call of the single."""

    collage: CallCost = CallCost(ratio=1.0)
    cheap: CallCost = CallCost()
    batch: CallCost = CallCost()
    parity: CallCost = CallCost()
    learned: CallCost = CallCost()


class Limits(_Part):
    """Beyond these, the machine's own compute is the straggler, and the figures are not worth having."""

    cpu_share: float = Field(default=0.6, gt=0, le=1, description="of the cores, by this process and all workers")
    overruns: float = Field(default=0.02, ge=0, le=1, description="share of jobs that took longer than their draw")
    tolerance: float = Field(default=0.1, ge=0, description="by more than this part of a single's mean time")
    repeats: int = Field(default=3, ge=0, le=20, description="a block beyond the limits is run again so many times")

    @property
    def bind(self) -> bool:
        """Whether anything can be beyond them."""
        return min(self.cpu_share, self.overruns) < 1


class BenchSettings(_Part):
    """One experiment: every policy under every load and kind of straggler, in interleaved blocks."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    policies: list[str] = Field(min_length=1, description="names of presets")
    loads: list[float] = Field(min_length=1, description="arrival rate x mean service time of a single / workers")
    stragglers: list[Straggler] = Field(default=["iid"], min_length=1)
    workers: int = Field(default=10, ge=1, le=256)
    blocks: int = Field(default=10, ge=1, le=1000, description="turns that every policy takes in every cell")
    requests: int = Field(default=1000, ge=10, le=50_000, description="counted requests of one block")
    warmup: int = Field(default=300, ge=0, le=50_000, description="requests of one block before those that count")
    seed: int = Field(default=1, ge=0)
    dataset: str = Field(default="fashion-mnist", description="test images: a dataset's name or an image folder")
    images: int = Field(default=2000, ge=1, description="how many of them to use, spread over the classes")
    models: Models = Models()
    times: Times = Times()
    costs: Costs = Costs()
    limits: Limits = Limits()
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict, description="policy settings, by policy")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field, values in (("policies", self.policies), ("loads", self.loads), ("stragglers", self.stragglers)):
            if len(set(values)) != len(values):
                raise ValueError(f"{field}: each value once (got {values})")
        known = [*PRESETS, *RIVALS]
        unknown = sorted({*self.policies, *self.overrides} - set(known))
        if unknown:
            raise ValueError(f"policies: {', '.join(unknown)}: no such preset; there are {', '.join(known)}")
        if not all(0 < load <= 2 for load in self.loads):
            raise ValueError(f"loads: each above 0 and at most 2 (got {self.loads})")
        for name in {*self.policies, *self.overrides}:
            try:
                worker_roles(self.policy(name), [f"w{number}" for number in range(self.workers)])
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return self

    def policy(self, name: str) -> Policy:
        """A preset as this experiment has it. Raises SettingsError for a change that it does not take."""
        return get_policy(RIVALS.get(name, name), **self.overrides.get(name, {}))

    @property
    def fingerprint(self) -> str:
        """A hash of everything here that a block's outcome depends on; the number of blocks may be raised later."""
        policies = [self.policy(name).model_dump_json() for name in self.policies]
        text = "\n".join([self.model_dump_json(exclude={"blocks", "name"}), *policies])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def service_times(self, straggler: Straggler) -> ServiceTimes:
        """The model of service times, scaled. Raises SettingsError for a profile or trace that cannot be used."""
        times = self.times
        if straggler == "episodes":
            profile = load_profile(times.profile)
            return EpisodeTimes(profile, times.normal_seconds, times.slow_seconds, times.scale)
        if straggler in REALLY:
            return ProfileTimes(load_profile(times.profile).without_slow(), times.scale)
        if times.trace is not None:
            return TraceTimes(load_times(times.trace), scale=times.scale)
        return ProfileTimes(load_profile(times.profile), times.scale)

    def rate(self, straggler: Straggler, load: float) -> float:
        """Requests a second at this load."""
        times = self.times
        up = times.normal_seconds / (times.normal_seconds + times.stopped_seconds) if straggler == "stopped" else 1.0
        return load * self.workers * up / self.service_times(straggler).mean

    @property
    def seconds(self) -> float:
        """How long the arrivals of the whole experiment take."""
        cells = [(straggler, load) for straggler in self.stragglers for load in self.loads]
        each = sum((self.warmup + self.requests) / self.rate(*cell) for cell in cells)
        return each * self.blocks * len(self.policies)


def load_bench(path: Path) -> BenchSettings:
    """An experiment's file. Raises SettingsError, one line that names the key."""
    return load_toml(path, BenchSettings)
