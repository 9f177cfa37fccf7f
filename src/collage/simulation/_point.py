"""One policy in one scenario, with one seed: from settings to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isqrt

import numpy as np

from collage.dispatch import Dispatcher, DispatchStats, Policy, Source, worker_roles
from collage.exceptions import SettingsError
from collage.simulation._again import Again
from collage.simulation._arrivals import OpenLoop, Rounds, bursty, poisson, repeated
from collage.simulation._costs import CallCost
from collage.simulation._desks import Desk, Desks
from collage.simulation._fleet import Fleet
from collage.simulation._machines import make_machines
from collage.simulation._outcomes import Table, load_tables
from collage.simulation._parts import BurstyArrivals, Gateways, RoundArrivals, TimestampArrivals, load_timestamps
from collage.simulation._pools import POOLS
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
    grid: int | Sequence[int] = 3,
    k: int = 2,
    progress: Callable[[int], None] = lambda arrived: None,
) -> PointResult:
    """Run a policy in a scenario in virtual time. The same arguments give the same result, bit for bit.

    queries: counted ones, after `warmup` that are in no figure (policies learn the times there); both rounded up to
    whole rounds where the load is made of them. grid: tiles a side of a collage; a batch holds as many images; several
    where there is a model for each, of which the dispatcher takes the smallest that suffices. k: queries of a parity or
    a learned code. Arrivals, images and each worker's service times depend on the seed and the
    scenario only, so that every policy meets the same ones. `progress` is told the arrivals so far, every 1,000.
    Raises SettingsError for too few workers, and for files that cannot be used.
    """
    if scenario.gateways is not None:
        return _run_several(
            policy, scenario, scenario.gateways, queries=queries, seed=seed, warmup=warmup, grid=grid, progress=progress
        )
    arrival_seed, image_seed, machine_seed, network_seed, again_seed = np.random.SeedSequence(seed).spawn(5)
    if isinstance(scenario.arrivals, RoundArrivals):
        a_round = scenario.arrivals.size
        queries, warmup = -(-queries // a_round) * a_round, -(-warmup // a_round) * a_round
    capacities = job_capacities(policy, grid, k)
    dispatcher = Dispatcher(policy, capacity=capacities, max_batch=scenario.max_batch, seed=seed)
    repeats = scenario.repeats
    again = None if repeats is None else Again(repeats.share, repeats.among, np.random.default_rng(again_seed))
    tally = Tally(warmup, queries, _tables(policy, scenario, capacities), np.random.default_rng(image_seed), again)
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
    fleet = Fleet(simulator, scenario, machines, call_costs(scenario, capacities), np.random.default_rng(network_seed))
    simulator.begin(fleet)
    simulator.run()
    (stats, computed, began), (later, in_the_end, ended) = marks
    result = _measured(
        tally,
        scenario,
        queries=queries,
        busy=in_the_end - computed,
        seconds=ended - began,
        single_seconds=later.single_seconds - stats.single_seconds,
        extra_seconds=later.extra_seconds - stats.extra_seconds,
        backups_sent=later.backups_sent - stats.backups_sent,
        tiles_sent=later.tiles_sent - stats.tiles_sent,
    )
    return replace(result, shared=later.shared - stats.shared)


def _run_several(
    policy: Policy,
    scenario: Scenario,
    gateways: Gateways,
    *,
    queries: int,
    seed: int,
    warmup: int,
    grid: int | Sequence[int],
    progress: Callable[[int], None],
) -> PointResult:
    """The same with several gateways. One of them meets what it would meet without this; so does every design."""
    arrival_seed, image_seed, machine_seed, network_seed, gateway_seed = np.random.SeedSequence(seed).spawn(5)
    if policy.dedicated or any(code.joint for code in policy.codes):
        raise SettingsError("scenario: gateways: only policies whose workers run all models, and no joint code")
    capacities = job_capacities(policy, grid, 2)
    desks = [
        Desk(
            number,
            Dispatcher(policy, capacity=capacities, max_batch=scenario.max_batch, seed=seed + 1_000_003 * number),
        )
        for number in range(gateways.count)
    ]
    tally = Tally(warmup, queries, _tables(policy, scenario, capacities), np.random.default_rng(image_seed))
    marks: list[tuple[list[DispatchStats], float, float, float]] = []
    arrivals = make_arrivals(scenario.model_copy(update={"gateway": 0.0}), np.random.default_rng(arrival_seed))
    assert isinstance(arrivals, OpenLoop)  # the scenario has seen to it
    loop = Desks(
        desks,
        arrivals,
        tally,
        chosen=_chosen(gateways, np.random.default_rng(gateway_seed)),
        serial=scenario.gateway,
        on_window=lambda: marks.append(
            ([replace(desk.dispatcher.stats) for desk in desks], pool.computed, pool.extra, loop.now)
        ),
        progress=progress,
    )
    names = [f"w{index}" for index in range(scenario.workers)]
    machines = make_machines(scenario, worker_roles(policy, names), machine_seed)
    rng = np.random.default_rng(network_seed)
    pool = POOLS[gateways.pool](loop, scenario, machines, call_costs(scenario, capacities), rng)
    loop.begin(pool)
    loop.run()
    (stats, computed, extra, began), (later, in_the_end, extra_in_the_end, ended) = marks
    busy = in_the_end - computed

    def sent(name: str) -> int:
        return sum(getattr(after, name) - getattr(before, name) for before, after in zip(stats, later, strict=True))

    result = _measured(
        tally,
        scenario,
        queries=queries,
        busy=busy,
        seconds=ended - began,
        # By when a job began, and of computing only: time that it waited at a worker is no work.
        single_seconds=busy - (extra_in_the_end - extra),
        extra_seconds=extra_in_the_end - extra,
        backups_sent=sent("backups_sent"),
        tiles_sent=sent("tiles_sent"),
    )
    return replace(result, busiest=loop.busiest.build(), moved=pool.moved)


def _measured(
    tally: Tally,
    scenario: Scenario,
    *,
    queries: int,
    busy: float,
    seconds: float,
    single_seconds: float,
    extra_seconds: float,
    backups_sent: int,
    tiles_sent: int,
) -> PointResult:
    """What came of the counted queries. busy: worker-seconds; seconds: for which the counting lasted."""
    whole = scenario.workers * seconds
    return PointResult(
        queries=queries,
        latencies=tally.latencies.build(),
        rounds=tally.rounds.build(),
        answered=dict(tally.answered),
        refused=dict(tally.refused),
        right_given=tally.right_given,
        right_single=tally.right_single,
        images=tally.images,
        gained={image: net for image, net in sorted(tally.gained.items()) if net},
        single_seconds=single_seconds,
        extra_seconds=extra_seconds,
        busy_seconds=busy,
        fleet_seconds=whole,
        joules=busy * scenario.power.busy + (whole - busy) * scenario.power.idle,
        backups_sent=backups_sent,
        tiles_sent=tiles_sent,
    )


def _chosen(gateways: Gateways, rng: np.random.Generator) -> Callable[[], int]:
    """Which gateway gets the next query: at random, as a balancer that knows nothing does."""
    count, first = gateways.count, gateways.busiest / gateways.count
    drawn: list[float] = []

    def choose() -> int:
        if not drawn:
            drawn.extend(rng.random(4096).tolist())
        at = drawn.pop()
        if at < first or count == 1:
            return 0
        return 1 + min(count - 2, int((at - first) / (1 - first) * (count - 1)))

    return choose


def job_capacities(policy: Policy, grid: int | Sequence[int], k: int) -> tuple[int, ...]:
    """Numbers of queries that a backup job of the policy can be made for, rising."""
    shared = [code for code in policy.codes if code.shared]
    if not shared:
        return (1,)
    if shared[0].joint:
        return (k,)
    return tuple(sorted({side * side for side in ((grid,) if isinstance(grid, int) else grid)}))


def call_costs(scenario: Scenario, capacities: Sequence[int]) -> dict[tuple[Source, int], CallCost]:
    """What a call takes, by source and the number of queries that such a job can hold."""
    return {
        (source, capacity): scenario.cost(source, _size(source, capacity))
        for source in Source
        for capacity in (1, *capacities)
    }


def _size(source: Source, capacity: int) -> int:
    """As models are named: tiles a side, or queries of a parity's group."""
    return capacity if source.joint else isqrt(capacity)


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


def _tables(policy: Policy, scenario: Scenario, capacities: Sequence[int]) -> Mapping[tuple[Source, int], Table] | None:
    """What each source's model says. Raises SettingsError where one that the policy may use has no outcomes."""
    if not scenario.outcomes:
        return None
    models = load_tables(scenario.outcomes)
    tables = {(source, 1): models["single"] for source in (Source.SINGLE, Source.REPLICA)}
    for code in policy.codes:
        for capacity in (capacities if code.shared else (1,)) if code.degraded else ():
            table = of_model(models, code.role, _size(code, capacity))
            if table is None:
                raise SettingsError(f"outcomes.{code.role}: is needed for a policy whose backups are of that model")
            tables[code, capacity] = table
    return tables
