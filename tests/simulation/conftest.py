"""A fleet whose times are written down: for cases that are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Action, Answer, Cancel, Dispatcher, Policy, Source, Start, get_policy, worker_roles
from collage.simulation import Scenario, make_scenario
from collage.simulation._arrivals import OpenLoop, Rounds
from collage.simulation._fleet import Fleet
from collage.simulation._machines import Machine
from collage.simulation._point import call_costs, job_capacities
from collage.simulation._simulator import Simulator
from collage.simulation._tally import Tally


class Given:
    """Every job takes the next of these times, the last one for ever."""

    def __init__(self, *times: float) -> None:
        self.left = list(times)

    def draw(self, now: float) -> float:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


class Failing:
    """Crashes after these times of being up, then never."""

    def __init__(self, *after: float) -> None:
        self.left = [*after, float("inf")]

    def exponential(self, mean: float) -> float:
        return self.left.pop(0)


class Recorder(Dispatcher):
    """A dispatcher that remembers what it said, and when."""

    def __init__(self, policy: Policy, **settings: Any) -> None:
        super().__init__(policy, **({"control_share": 0.0} | settings))
        self.said: list[tuple[float, Action]] = []
        self.hurried: list[int] = []

    def hurry(self, query: int, now: float) -> list[Action]:
        """An oracle says that its single straggles."""
        self.hurried.append(query)
        actions = super().hurry(query, now)
        self.said += [(now, action) for action in actions]
        return actions


def _recording(event: str) -> Callable[..., list[Action]]:
    def record(self: Recorder, *details: Any, **more: Any) -> list[Action]:
        actions: list[Action] = getattr(Dispatcher, event)(self, *details, **more)
        self.said += [(details[-1], action) for action in actions]
        return actions

    return record


for _event in ("submit", "cancelled", "worker", "completed", "decoded", "failed", "freed", "tick"):
    setattr(Recorder, _event, _recording(_event))


@dataclass
class Played:
    """What came of it. Times are seconds; jobs and queries are counted from 1 and 0."""

    said: list[tuple[float, Action]]
    arrived: Sequence[float]
    simulator: Simulator
    fleet: Fleet
    tally: Tally
    answers: dict[int, tuple[float, Source]] = field(default_factory=dict)  # query: latency, source
    starts: list[tuple[float, str, Source]] = field(default_factory=list)  # when, worker, source
    cancels: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        for when, action in self.said:
            match action:
                case Answer(query, source):
                    self.answers[query] = (when - self.arrived[query] if self.arrived else when, source)
                case Start(_, worker, source):
                    self.starts.append((when, worker, source))
                case Cancel():
                    self.cancels.append(when)

    @property
    def latencies(self) -> list[float]:
        return [latency for _, (latency, _) in sorted(self.answers.items())]


@pytest.fixture
def play() -> Any:
    """play("none", arrivals, [worker's times, ...], failing={worker: (3.0,)}, policy={...}, **scenario) -> Played"""

    def played(
        policy: str | Policy,
        arrivals: Iterable[float] | Rounds,
        times: Sequence[Sequence[float]],
        *,
        changes: dict[str, Any] | None = None,
        failing: dict[int, tuple[float, ...]] | None = None,
        queries: int | None = None,
        phases: Sequence[Any] = (),
        scenario: dict[str, Any] | None = None,
        **values: Any,
    ) -> Played:
        chosen = get_policy(policy, **(changes or {})) if isinstance(policy, str) else policy
        fleet_values = {"workers": len(times), "load": 0.5} | values | (scenario or {})
        modelled: Scenario = make_scenario(fleet_values)
        roles = worker_roles(chosen, [f"w{index}" for index in range(len(times))])
        machines = [
            Machine(name, own, Given(*its), tuple(phases), Failing(*(failing or {}).get(index, ())))  # type: ignore[arg-type]
            for index, ((name, own), its) in enumerate(zip(roles.items(), times, strict=True))
        ]
        known = [] if isinstance(arrivals, Rounds) else list(arrivals)
        source = arrivals if isinstance(arrivals, Rounds) else OpenLoop(
            chain(known, repeat(float("inf"))), modelled.gateway
        )  # fmt: skip
        dispatcher = Recorder(chosen, capacity=job_capacities(chosen, 2, 2), max_batch=modelled.max_batch)
        tally = Tally(0, queries or len(known), None, np.random.default_rng(0))
        simulator = Simulator(dispatcher, source, tally)
        costs = call_costs(modelled, job_capacities(chosen, 2, 2))
        fleet = Fleet(simulator, modelled, machines, costs, np.random.default_rng(0))
        simulator.begin(fleet)
        simulator.run()
        return Played(dispatcher.said, known, simulator, fleet, tally)

    return played


@pytest.fixture
def recorder() -> type[Recorder]:
    """A dispatcher whose `said` is all that it said, with the times."""
    return Recorder
