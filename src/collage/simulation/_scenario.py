"""A scenario: everything of one modelled fleet, but no policy. The same scenario is given to every rival."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from collage.dispatch import Role, Source
from collage.exceptions import SettingsError
from collage.files import first_problem
from collage.simulation._costs import CallCost
from collage.simulation._parts import (
    Arrivals,
    Cancelling,
    CostSettings,
    Crashes,
    Gateways,
    Network,
    Part,
    Pauses,
    PoissonArrivals,
    Power,
    ProfileSettings,
    Repeats,
    RoundArrivals,
    Slowdown,
    Times,
    TimestampArrivals,
)

_COSTS = {"cheap": CostSettings(ratio=0.11, overhead=0.015)}
_MODEL = re.compile(r"(single|cheap|(collage|batch)(-([2-9])x\4)?|(parity|learned)(-k\d+)?)")


class Scenario(Part):
    """One modelled fleet and what comes to it. All times are seconds."""

    workers: int = Field(default=40, ge=1, le=100_000, description="machines, one job at a time each")
    load: float | None = Field(
        default=None, gt=0, le=2, description="arrival rate x mean service time of a single / workers; not for rounds"
    )
    arrivals: Arrivals = Field(default=PoissonArrivals(), description="when queries come")

    repeats: Repeats | None = Field(default=None, description="images that come again soon; absent: none")

    times: Times = Field(default=ProfileSettings(), description="what one call of the single takes on a healthy worker")
    slowdowns: tuple[Slowdown, ...] = Field(default=(), description="workers, hosts or zones that are slow for a while")
    pauses: Pauses | None = Field(default=None, description="workers that stop at regular times")
    crashes: Crashes | None = Field(default=None, description="workers that die and come back")
    gateway: float = Field(default=0.0, ge=0, le=10, description="serial seconds that the gateway spends on each query")
    gateways: Gateways | None = Field(default=None, description="several gateways before one pool; absent: one")
    network: Network | None = Field(default=None, description="the way between dispatcher and worker; absent: no time")

    overhead_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of a single's call that every call pays, whatever its model and however many singles share "
        "it: only the rest goes by `ratio`, or grows with them",
    )
    costs: dict[str, CostSettings] = Field(
        default_factory=dict,
        description="a call by model (collage, or of one size: collage-4x4, parity-k3); absent: cheap 0.11 of a "
        "single's and 15 ms, all others as a single's",
    )
    max_batch: int = Field(
        default=1, ge=1, le=256, description="singles that wait may share a call, up to so many, as in the gateway"
    )
    batch_flat: float = Field(
        default=1.0,
        ge=1,
        le=256,
        description="singles in one call whose compute is that of one; of more it grows in proportion; 1: a CPU's",
    )
    cancel: Cancelling = Field(default=Cancelling(), description="what cancelling a running job does")
    power: Power = Field(default=Power(), description="what workers draw")
    outcomes: dict[str, Path] = Field(
        default_factory=dict,
        description="outcomes-*.csv.gz of an evaluation by model, as in `costs`; absent: every answer is right",
    )

    no_stragglers: bool = Field(
        default=False,
        description="the ideal: the same arrivals, but no slow mode, slowdowns, pauses or crashes",
    )
    oracle: bool = Field(
        default=False,
        description="the dispatcher is told at a single's start that it will straggle, and wants its backup at once",
    )

    @field_validator("costs", "outcomes")
    @classmethod
    def _names_models(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if not _MODEL.fullmatch(name):
                raise ValueError(f"{name!r} is no model: say single, cheap, collage, collage-3x3, batch, parity-k2 ...")
        return given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.arrivals, RoundArrivals):
            if self.load is not None:
                raise ValueError("load: rounds come when the last one is over; leave it out")
        elif self.load is None and not isinstance(self.arrivals, TimestampArrivals):
            raise ValueError(f"load: {self.arrivals.kind} arrivals need it (0 to 2)")
        if self.pauses is not None and self.pauses.seconds >= self.pauses.every:
            raise ValueError("pauses.seconds: a pause must end before the next one begins (pauses.every)")
        if self.outcomes and "single" not in self.outcomes:
            raise ValueError("outcomes.single: is needed, because accuracy is compared with the single's")
        if self.oracle and self.no_stragglers:
            raise ValueError("oracle: there is nothing to foresee with no_stragglers")
        if self.gateways is not None:
            self._fits_several(self.gateways)
        return self

    def _fits_several(self, gateways: Gateways) -> None:
        if gateways.count > self.workers:
            raise ValueError(f"gateways.count: {gateways.count} for {self.workers} workers; each needs one")
        if gateways.busiest > gateways.count:
            raise ValueError("gateways.busiest: no gateway can get more than all queries (at most gateways.count)")
        alone = {
            "arrivals": self.arrivals.kind == "rounds", "repeats": self.repeats is not None,
            "crashes": self.crashes is not None, "cancel": self.cancel.effect != "nothing", "oracle": self.oracle,
            "network.slots": self.network is not None and self.network.slots > 1,
        }  # fmt: skip
        if unfit := [name for name, given in alone.items() if given]:
            raise ValueError(f"{unfit[0]}: is not simulated with several gateways; leave it, or `gateways`, out")

    def changed(self, **changes: Any) -> Scenario:
        """The same with some values changed: changed(load=0.7, **{"times.slow_factor": 2}). Raises SettingsError."""
        values = self.model_dump()
        for key, value in changes.items():
            *parents, last = key.split(".")
            part = values
            for parent in parents:
                part = part.setdefault(parent, {}) if isinstance(part, dict) else {}
            if not isinstance(part, dict):
                raise SettingsError(f"scenario: {key}: {parents[-1]} is absent, so nothing of it can be changed")
            part[last] = value
        return make_scenario(values)

    def cost(self, source: Source, size: int) -> CallCost:
        """A call of the source's model. size: tiles a side of a collage or batch, or queries of a parity's group."""
        found = of_model(_COSTS | self.costs, source.role, size)
        given = CostSettings() if found is None else found
        if source.role is Role.SINGLE:
            return CallCost(given.ratio, given.overhead, given.per_query, self.overhead_share, self.batch_flat)
        share = self.overhead_share
        return CallCost(share + (1 - share) * given.ratio, given.overhead, (1 - share) * given.per_query)

    @property
    def mean(self) -> float:
        """Mean service time of a single on a worker that is never idle, seconds: what `load` is measured by."""
        speed = 1.0
        for slowdown in self.slowdowns:
            speed *= slowdown.speed
        if self.pauses is not None:
            speed *= self.pauses.speed
        return self.cost(Source.SINGLE, 1).of(self.times.build().mean) / speed

    @property
    def rate(self) -> float | None:
        """Queries a second that `load` means; None without one."""
        return None if self.load is None else self.load * self.workers / self.mean


def make_scenario(values: Mapping[str, Any]) -> Scenario:
    """A scenario from plain values, such as a table of a TOML file. Raises SettingsError that names the key."""
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"scenario: {first_problem(error)}") from None


def of_model(table: Mapping[str, Any], role: Role, size: int) -> Any:
    """What the table has for a model of this size, else for the model; None where it has neither."""
    sized = f"{role}-k{size}" if role in (Role.PARITY, Role.LEARNED) else f"{role}-{size}x{size}"
    return table.get(sized, table.get(role.value))
