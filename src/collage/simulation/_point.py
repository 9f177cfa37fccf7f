"""One policy in one scenario, with one seed: from settings to a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from collage.dispatch import Dispatcher, DispatchStats, Policy, Source, worker_roles
from collage.exceptions import SettingsError
from collage.simulation._arrivals import OpenLoop, Rounds, bursty, poisson, repeated
from collage.simulation._fleet import Fleet
from collage.simulation._machines import make_machines
from collage.simulation._outcomes import Table, load_tables
from collage.simulation._parts import BurstyArrivals, RoundArrivals, TimestampArrivals, load_timestamps
from collage.simulation._result import PointResult
from collage.simulation._scenario import Scenario, of_model
from collage.simulation._simulator import Simulator
from collage.simulation._tally import Tally


def run_point(
    policy: Policy,
    scenario: Scenario,
    *,
    queries: int,
    seed: int,
    warmup: int = 1000,
    grid: int = 3,
    k: int = 2,
    progress: Callable[[int], None] = lambda arrived: None,
) -> PointResult:
    """Run a policy in a scenario in virtual time. The same arguments give the same result, bit for bit.

    queries: counted ones, after `warmup` that are in no figure (policies learn the times there); both rounded up to
    whole rounds where the load is made of them. grid: tiles a side of a collage; a batch holds as many images. k:
    queries of a parity or a learned code. Arrivals, images and each worker's service times depend on the seed and the
    scenario only, so that every policy meets the same ones. `progress` is told the arrivals so far, every 1,000.
    Raises SettingsError for too few workers, and for files that cannot be used.
    """
    size = k if policy.code is not None and policy.code.joint else grid
    arrival_seed, image_seed, machine_seed, network_seed = np.random.SeedSequence(seed).spawn(4)
    if isinstance(scenario.arrivals, RoundArrivals):
        a_round = scenario.arrivals.size
        queries, warmup = -(-queries // a_round) * a_round, -(-warmup // a_round) * a_round
    dispatcher = Dispatcher(policy, capacity=capacity(policy, grid, k), seed=seed)
    tally = Tally(warmup, queries, _tables(policy, scenario, size), np.random.default_rng(image_seed))
    marks: list[tuple[DispatchStats, float, float]] = []
    simulator = Simulator(
        dispatcher,
        make_arrivals(scenario, np.random.default_rng(arrival_seed)),
        tally,
        drain=isinstance(scenario.arrivals, RoundArrivals) and scenario.arrivals.drain,
        on_window=lambda: marks.append((replace(dispatcher.stats), fleet.computed(simulator.now), simulator.now)),
        progress=progress,
    )
    names = [f"w{index}" for index in range(scenario.workers)]
    machines = make_machines(scenario, worker_roles(policy, names), machine_seed)
    costs = {source: scenario.cost(source, size) for source in Source}
    fleet = Fleet(simulator, scenario, machines, costs, np.random.default_rng(network_seed))
    simulator.begin(fleet)
    simulator.run()
    (stats, computed, began), (later, in_the_end, ended) = marks
    busy, whole = in_the_end - computed, scenario.workers * (ended - began)
    return PointResult(
        queries=queries,
        latencies=tally.latencies.build(),
        rounds=tally.rounds.build(),
        answered=dict(tally.answered),
        refused=dict(tally.refused),
        right_given=tally.right_given,
        right_single=tally.right_single,
        differing=tally.differing,
        single_seconds=later.single_seconds - stats.single_seconds,
        extra_seconds=later.extra_seconds - stats.extra_seconds,
        busy_seconds=busy,
        fleet_seconds=whole,
        joules=busy * scenario.power.busy + (whole - busy) * scenario.power.idle,
        backups_sent=later.backups_sent - stats.backups_sent,
        tiles_sent=later.tiles_sent - stats.tiles_sent,
    )


def capacity(policy: Policy, grid: int, k: int) -> int:
    """Queries that one backup job of the policy can hold."""
    if policy.code in (Source.COLLAGE, Source.BATCH):
        return grid * grid
    return k if policy.code is not None and policy.code.joint else 1


def make_arrivals(scenario: Scenario, rng: np.random.Generator) -> OpenLoop | Rounds:
    """When queries come in this scenario. Raises SettingsError for a file of timestamps that cannot be used."""
    kind, rate = scenario.arrivals, scenario.rate
    if isinstance(kind, RoundArrivals):
        return Rounds(kind.size, scenario.gateway)
    if isinstance(kind, TimestampArrivals):
        times = load_timestamps(kind.path)
        own = (len(times) - 1) / float(times[-1])
        return OpenLoop(repeated(times, 1.0 if rate is None else own / rate), scenario.gateway)
    assert rate is not None
    if isinstance(kind, BurstyArrivals):
        stream = bursty(rng, rate, kind.factor, kind.calm_seconds, kind.burst_seconds)
    else:
        stream = poisson(rng, rate)
    return OpenLoop(stream, scenario.gateway)


def _tables(policy: Policy, scenario: Scenario, size: int) -> dict[Source, Table] | None:
    """What each source says. Raises SettingsError where the policy's own model has no outcomes."""
    if not scenario.outcomes:
        return None
    models = load_tables(scenario.outcomes)
    tables = {Source.SINGLE: models["single"], Source.REPLICA: models["single"]}
    if policy.code is not None and policy.code.degraded:
        table = of_model(models, policy.code.role, size)
        if table is None:
            raise SettingsError(f"outcomes.{policy.code.role}: is needed for a policy whose backups are of that model")
        tables[policy.code] = table
    return tables
