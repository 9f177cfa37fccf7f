"""Policies side by side in virtual time: the same arrivals and the same slow workers for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from collage.dispatch import Dispatcher, DispatchStats, Policy, Role, Source, worker_roles
from collage.simulation._service_times import ServiceTimes
from collage.simulation._simulator import CallCost, Simulator

_WARMUP = 500  # queries that are in no figure: policies learn the times here


class SimulatedRow(NamedTuple):
    """One policy at one load. Seconds and fractions."""

    policy: str
    load: float
    requests: int
    mean: float
    std: float
    p50: float
    p99: float
    p999: float
    degraded_share: float
    extra_work: float
    tiles_per_backup: float


def compare(
    policies: Mapping[str, Policy],
    times: ServiceTimes,
    *,
    loads: Sequence[float],
    workers: int = 10,
    requests: int = 20_000,
    grid: int = 3,
    k: int = 2,
    costs: Mapping[Role, CallCost] | None = None,
    seed: int = 1,
    progress: Callable[[str, float, int], None] = lambda policy, load, arrived: None,
) -> Iterator[SimulatedRow]:
    """Rows as they are done: Poisson arrivals, `requests` counted ones each. Raises SettingsError for too few workers.

    grid: of a collage; a batch holds as many. k: queries of a parity or a learned code. Cancelling a running job does
    nothing. `progress` is told policy, load and arrivals so far.
    """
    names = [f"w{index}" for index in range(workers)]
    for load in loads:
        words = [seed, round(load * 1000)]
        gaps = np.random.default_rng(words).exponential(times.mean / (load * workers), requests + _WARMUP)
        for name, policy in policies.items():
            capacity = grid * grid if policy.code in (Source.COLLAGE, Source.BATCH) else 1
            if policy.code is not None and policy.code.joint:
                capacity = k
            dispatcher = Dispatcher(policy, capacity=capacity, seed=seed)
            simulator = Simulator(
                dispatcher, times, worker_roles(policy, names), np.random.default_rng([*words, 1]), costs=costs
            )
            stats, before = dispatcher.stats, DispatchStats()

            def arriving(arrived: int) -> None:
                nonlocal before
                if arrived == _WARMUP:
                    before = replace(stats)  # noqa: B023
                if arrived % 1000 == 0:
                    progress(name, load, arrived)  # noqa: B023

            run = simulator.run(np.cumsum(gaps), arriving)
            latencies, sources = run.latencies[_WARMUP:], run.sources[_WARMUP:]
            latencies = latencies[~np.isnan(latencies)]
            spent = stats.single_seconds - before.single_seconds
            backups = stats.backups_sent - before.backups_sent
            yield SimulatedRow(
                policy=name,
                load=load,
                requests=len(latencies),
                mean=float(latencies.mean()),
                std=float(latencies.std()),
                p50=float(np.quantile(latencies, 0.5)),
                p99=float(np.quantile(latencies, 0.99)),
                p999=float(np.quantile(latencies, 0.999)),
                degraded_share=sum(source is not None and source.degraded for source in sources) / len(sources),
                extra_work=(stats.extra_seconds - before.extra_seconds) / spent,
                tiles_per_backup=(stats.tiles_sent - before.tiles_sent) / max(1, backups),
            )
