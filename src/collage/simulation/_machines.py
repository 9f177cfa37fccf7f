"""The workers of a scenario: each with its stream of service times and what slows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat

import numpy as np

from collage.dispatch import Role, Start, WorkerId
from collage.simulation._parts import Pauses, Slowdown
from collage.simulation._scenario import Scenario
from collage.simulation._service_times import WorkerTimes
from collage.simulation._speed import Phases


@dataclass(eq=False, slots=True)
class Run:
    """One job on its way through a worker."""

    start: Start
    machine: Machine
    ends: float = 0.0  # once it has begun
    began: float = 0.0
    over: bool = False  # it has ended, or will not begin, or its end is another one


@dataclass(eq=False, slots=True)
class Machine:
    """A worker: runs one job at a time, others wait their turn."""

    name: WorkerId
    roles: frozenset[Role]
    times: WorkerTimes
    phases: tuple[Phases, ...] = ()
    failures: np.random.Generator | None = None  # where it may crash
    up: bool = True
    running: Run | None = None
    waiting: deque[Run] = field(default_factory=deque)


def make_machines(
    scenario: Scenario, roles: Mapping[WorkerId, frozenset[Role]], seeds: np.random.SeedSequence
) -> list[Machine]:
    """Machines by the scenario. The same seeds give each the same service times and slowness under every policy."""
    times_seed, slow_seed, crash_seed = seeds.spawn(3)
    count, model = len(roles), scenario.times.build()
    stream = model.steady if scenario.no_stragglers else model.worker
    streams = [stream(np.random.default_rng(own)) for own in times_seed.spawn(count)]
    phases: list[list[Phases]] = [[] for _ in range(count)]
    failures: list[np.random.Generator | None] = [None] * count
    if not scenario.no_stragglers:
        slow: list[Slowdown | Pauses] = [*scenario.slowdowns, *([scenario.pauses] if scenario.pauses else [])]
        for part, part_seed in zip(slow, slow_seed.spawn(len(slow)), strict=True):
            make = partial(_slowdown, part) if isinstance(part, Slowdown) else partial(_pauses, part)
            groups = [make(np.random.default_rng(own)) for own in part_seed.spawn(-(-count // part.together))]
            for index, own in enumerate(phases):
                own.append(groups[index // part.together])
        if scenario.crashes is not None:
            failures = [np.random.default_rng(own) for own in crash_seed.spawn(count)]
    return [
        Machine(name, own, times, tuple(slowness), failure)
        for (name, own), times, slowness, failure in zip(roles.items(), streams, phases, failures, strict=True)
    ]


def _slowdown(part: Slowdown, rng: np.random.Generator) -> Phases:
    """As in the long run: slow with its share of the time to begin with."""
    means = (part.normal_seconds, part.slow_seconds)
    lengths: list[Callable[[], float]] = [partial(rng.exponential, mean) for mean in means]
    return Phases((1.0, 1.0 / part.factor), int(rng.random() < means[1] / sum(means)), lengths)


def _pauses(part: Pauses, rng: np.random.Generator) -> Phases:
    """At a random place of the period to begin with."""
    normal = part.every - part.seconds
    place = float(rng.random()) * part.every
    first = int(place >= normal)
    rest = (part.every if first else normal) - place
    lengths = [
        chain([rest] if index == first else [], repeat(length)) for index, length in enumerate((normal, part.seconds))
    ]
    return Phases((1.0, 0.0), first, [partial(next, own) for own in lengths])
