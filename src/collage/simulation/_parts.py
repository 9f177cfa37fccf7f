"""The parts of a scenario as an experiment's file says them: arrivals, service times, and what may go wrong.

All times are seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from collage.exceptions import SettingsError
from collage.simulation._distributions import lognormal, pareto, shifted_exponential
from collage.simulation._profile import load_profile, load_times
from collage.simulation._service_times import EpisodeTimes, ProfileTimes, ServiceTimes, TraceTimes


class Part(BaseModel):
    """Immutable; a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Arrivals.


class PoissonArrivals(Part):
    """Independent queries at the rate that the load says."""

    kind: Literal["poisson"] = "poisson"


class BurstyArrivals(Part):
    """Calm and bursts in turn, both of exponential length (a two-state MMPP); the load says the mean rate."""

    kind: Literal["bursty"]
    factor: float = Field(default=3.0, gt=1, le=1000, description="rate in a burst over the rate in the calm")
    calm_seconds: float = Field(default=50.0, gt=0, description="mean length of the calm")
    burst_seconds: float = Field(default=5.0, gt=0, description="mean length of a burst")


class TimestampArrivals(Part):
    """Queries at the timestamps of a file, over and over; with a load, stretched or squeezed to it."""

    kind: Literal["timestamps"]
    path: Path = Field(description=".npy, or text with one timestamp a line in its last column; seconds, rising")


class RoundArrivals(Part):
    """The closed loop of Narra et al.: so many queries at once, over when the last is answered; then the next."""

    kind: Literal["rounds"]
    size: int = Field(default=9, ge=1, le=100_000, description="queries of a round")
    drain: bool = Field(
        default=False, description="the next round also waits for jobs that nobody needs any more, so that each is new"
    )


Arrivals = Annotated[
    PoissonArrivals | BurstyArrivals | TimestampArrivals | RoundArrivals, Field(discriminator="kind")
]  # fmt: skip


class Repeats(Part):
    """Images that come again soon: the same picture seen by two cameras, a meme, a client that tries again."""

    share: float = Field(gt=0, lt=1, description="of queries that show the image of one shortly before")
    among: int = Field(default=10, ge=1, le=100_000, description="that one is any of so many before it")


# Service times.


class _Stragglers(Part):
    profile: str = Field(default="resnet34-cpu", description="a shipped profile, or a profile's file")
    scale: float = Field(default=1.0, gt=0, le=1000, description="every time is multiplied by this")
    slow_factor: float = Field(default=1.0, gt=0, le=1000, description="slow jobs' times are multiplied by this too")


class ProfileSettings(_Stragglers):
    """Independent draws from a profile."""

    kind: Literal["profile"] = "profile"
    slow_share: float | None = Field(default=None, ge=0, lt=1, description="share of slow jobs; absent: the profile's")

    def build(self) -> ServiceTimes:
        """The model. Raises SettingsError for a profile that cannot be used."""
        profile = load_profile(self.profile).straggling(self.slow_share, self.slow_factor)
        return ProfileTimes(profile, self.scale)


class EpisodeSettings(_Stragglers):
    """Workers that are normal, then slow, for a while, by the clock; times from the profile's two modes."""

    kind: Literal["episodes"]
    normal_seconds: float = Field(default=57.0, gt=0, description="mean length of a normal time, before scaling")
    slow_seconds: float = Field(default=3.0, gt=0, description="mean length of a slow one, before scaling")

    def build(self) -> ServiceTimes:
        """The model. Raises SettingsError for a profile that cannot be used."""
        profile = load_profile(self.profile).straggling(None, self.slow_factor)
        return EpisodeTimes(profile, self.normal_seconds, self.slow_seconds, self.scale)


class TraceSettings(Part):
    """A measured trace: independent draws, or replayed by each worker in order from a random place."""

    kind: Literal["trace"]
    path: Path = Field(description=".npy, or text with one time a line in its last column; seconds")
    order: Literal["random", "replay"] = Field(default="random", description="replay keeps slowness that lasts")
    scale: float = Field(default=1.0, gt=0, le=1000, description="every time is multiplied by this")
    slow_above: float | None = Field(
        default=None, gt=0, description="a longer time is a straggler's, before scaling; absent: 3 medians"
    )

    def build(self) -> ServiceTimes:
        """The model. Raises SettingsError for a file that cannot be used."""
        return TraceTimes(load_times(self.path), self.order == "replay", self.scale, self.slow_above)


class LognormalSettings(Part):
    """Independent draws from a lognormal distribution."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0, description="seconds")
    sigma: float = Field(ge=0, le=5, description="standard deviation of the logarithm")

    def build(self) -> ServiceTimes:
        """The model."""
        return lognormal(self.median, self.sigma)


class ParetoSettings(Part):
    """Independent draws from a Pareto distribution: P(time > t) = (least / t)^alpha."""

    kind: Literal["pareto"]
    least: float = Field(gt=0, description="shortest time, seconds")
    alpha: float = Field(gt=1, le=100, description="the smaller, the heavier the tail")

    def build(self) -> ServiceTimes:
        """The model."""
        return pareto(self.least, self.alpha)


class ShiftedExponentialSettings(Part):
    """Independent draws: a constant and an exponential beyond it. Either may be 0."""

    kind: Literal["shifted-exponential"]
    shift: float = Field(default=0.0, ge=0, description="shortest time, seconds")
    beyond: float = Field(default=0.0, ge=0, description="mean of the exponential part, seconds")

    def build(self) -> ServiceTimes:
        """The model."""
        return shifted_exponential(self.shift, self.beyond)


Times = Annotated[
    ProfileSettings | EpisodeSettings | TraceSettings | LognormalSettings | ParetoSettings | ShiftedExponentialSettings,
    Field(discriminator="kind"),
]


# What comes on top.


class Slowdown(Part):
    """Workers that are k times slower for a while, then not, both of exponential length, by the clock.

    One worker by itself is the two-state worker; more of them at once, a host or a zone.
    """

    factor: float = Field(gt=1, le=10_000, description="how many times slower")
    normal_seconds: float = Field(gt=0, description="mean time between")
    slow_seconds: float = Field(gt=0, description="mean time of being slow")
    together: int = Field(default=1, ge=1, description="workers that are slow at once: those of one host or zone")

    @property
    def speed(self) -> float:
        """Mean speed, of 1."""
        return (self.normal_seconds + self.slow_seconds / self.factor) / (self.normal_seconds + self.slow_seconds)


class Pauses(Part):
    """Each worker stops at regular times (a garbage collection, a checkpoint), whatever it runs; at a random phase."""

    every: float = Field(gt=0, description="seconds from the start of one pause to the next")
    seconds: float = Field(gt=0, description="length of a pause")
    together: int = Field(default=1, ge=1, description="workers that pause at once")

    @property
    def speed(self) -> float:
        """Mean speed, of 1."""
        return 1.0 - self.seconds / self.every


class Crashes(Part):
    """Workers that die, lose what they run, and come back. The dispatcher is told of both at once."""

    every: float = Field(gt=0, description="mean time to failure of one worker, seconds (exponential)")
    restart: float = Field(gt=0, description="seconds until it is back")


class Network(Part):
    """The way between dispatcher and worker. A slot is taken while a job or its answer is on the way."""

    delay: float = Field(default=0.0, ge=0, description="each way, seconds")
    jitter: float = Field(default=0.0, ge=0, description="mean of what is added to each way, exponential, seconds")
    slots: int = Field(
        default=1, ge=1, le=64, description="jobs sent to a worker at once: it runs one, the others wait there"
    )


class Gateways(Part):
    """Several gateways before one pool of workers, each with a dispatcher, groups and a budget of its own.

    A query goes to one of them at random. Of the pool's designs, with `own` and `lend` a worker is one gateway's at a
    time; with the others it is everybody's, and a job may wait behind another gateway's.
    """

    count: int = Field(default=1, ge=1, le=256, description="gateways; each has at least one worker")
    pool: Literal["own", "lend", "blind", "probe", "queue"] = Field(
        default="own",
        description="own: each has an equal share of the workers; lend: and is lent idle ones of the others; blind: "
        "all send to all, knowing their own jobs only; probe: and ask a few workers before each job how many jobs they "
        "have; queue: one queue for all, which workers take jobs from",
    )
    busiest: float = Field(
        default=1.0, ge=1, le=256, description="queries of the first gateway over the mean of all; the others are alike"
    )
    probes: int = Field(default=2, ge=2, le=64, description="probe: workers that are asked before a job")
    look: float = Field(default=0.1, gt=0, le=60, description="lend: seconds between two looks at who has idle ones")


class Cancelling(Part):
    """What becomes of a running job that nobody needs any more."""

    effect: Literal["nothing", "cooperative", "kill"] = Field(
        default="nothing",
        description="nothing: it runs to its end; cooperative: it stops at its next check; kill: its worker restarts",
    )
    check: float = Field(default=0.01, gt=0, description="cooperative: seconds of the job between its checks")
    restart: float = Field(default=1.0, gt=0, description="kill: seconds until the worker is back")


class Power(Part):
    """A worker's power, watts."""

    idle: float = Field(default=60.0, ge=0, description="while it waits")
    busy: float = Field(default=150.0, ge=0, description="while it computes")


class CostSettings(Part):
    """What a call of a model takes: (ratio + per_query x queries) x (a draw of the single's) + overhead, seconds."""

    ratio: float = Field(default=1.0, ge=0, le=100, description="compute of a call, over a call of the single's")
    overhead: float = Field(default=0.0, ge=0, description="seconds of a call beside its compute, whatever is drawn")
    per_query: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="compute of each query in the call (a batch), over a call of the single's",
    )


def load_timestamps(path: Path) -> NDArray[np.float64]:
    """Timestamps (n,), seconds, rising, moved so that the first is 0. Raises SettingsError for a file that has none."""
    times = load_times(path)
    if len(times) < 2 or not np.isfinite(times).all() or (np.diff(times) < 0).any() or times[-1] <= times[0]:
        raise SettingsError(f"{path}: needs at least two timestamps, finite and rising")
    moved: NDArray[np.float64] = times - times[0]
    return moved
