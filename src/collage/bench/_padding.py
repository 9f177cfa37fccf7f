"""How long each job must take: a draw of its worker's, which a backup's cost turns into its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import numpy as np

from collage.bench._settings import BenchSettings
from collage.dispatch import Role, WorkerId
from collage.exceptions import SettingsError
from collage.simulation import CallCost, ServiceTimes
from collage.zoo import LoadedModel


def call_costs(settings: BenchSettings, models: Mapping[Role, LoadedModel]) -> dict[Role, CallCost]:
    """Costs by role, overheads scaled. Raises SettingsError where a ratio is neither given nor on the model's card."""
    costs = {Role.SINGLE: CallCost(1.0, 0.0)}
    for role in sorted(set(models) - set(costs)):
        card, given = models[role].card, getattr(settings.costs, role.value)
        measured = card.cost.latency_ratio if card.cost else None
        ratio = measured if given.ratio is None else given.ratio
        if ratio is None:
            raise SettingsError(f"costs.{role}.ratio: is needed, because the card of {card.name} has no latency_ratio")
        costs[role] = CallCost(ratio, given.overhead * settings.times.scale)
    return costs


class Padding:
    """The drawn time of each job of one turn."""

    def __init__(
        self,
        times: ServiceTimes,
        costs: Mapping[Role, CallCost],
        workers: Iterable[WorkerId],
        rng: np.random.Generator,
    ) -> None:
        names = sorted(workers)
        self._streams = {name: times.worker(own) for name, own in zip(names, rng.spawn(len(names)), strict=True)}
        self._costs = costs
        self._began = time.monotonic()

    def begin(self) -> None:
        """The turn's time starts now: episodes are counted from here."""
        self._began = time.monotonic()

    def draw(self, worker: WorkerId, role: Role) -> float:
        """Seconds that a job of this model takes on this worker if it starts now."""
        return self._costs[role].of(self._streams[worker].draw(time.monotonic() - self._began))
