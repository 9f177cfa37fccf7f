"""Whatever goes wrong in a fleet: every query has one outcome, no second is computed twice, nothing is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collage.dispatch import PRESETS, Policy, get_policy, worker_roles
from collage.simulation import make_scenario, run_point
from collage.simulation._fleet import Fleet
from collage.simulation._machines import make_machines
from collage.simulation._simulator import Simulator
from collage.simulation._tally import Tally


def sometimes(**parts: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these parts of a scenario, in any combination."""
    return st.fixed_dictionaries({}, optional={name: st.just(part) for name, part in parts.items()})


FAULTS = sometimes(
    slowdowns=[
        {"factor": 6, "normal_seconds": 5, "slow_seconds": 1, "together": 2},
        {"factor": 2, "normal_seconds": 2, "slow_seconds": 2},
    ],
    pauses={"every": 2.0, "seconds": 0.3},
    crashes={"every": 8.0, "restart": 0.7},
    gateway=0.003,
    overhead_share=0.3,
)
ARRIVALS = st.sampled_from(
    [
        {"load": 0.4},
        {"load": 0.95},
        {"load": 0.5, "arrivals": {"kind": "bursty", "factor": 8, "calm_seconds": 4, "burst_seconds": 1}},
        {"arrivals": {"kind": "rounds", "size": 5}},
        {"arrivals": {"kind": "rounds", "size": 3, "drain": True}},
    ]
)
NETWORKS = st.sampled_from([{}, {"network": {"delay": 0.02, "jitter": 0.01}}, {"network": {"jitter": 0.2, "slots": 3}}])
CANCELS = st.sampled_from([{}, {"cancel": {"effect": "cooperative"}}, {"cancel": {"effect": "kill", "restart": 0.2}}])


@settings(max_examples=40, deadline=None)
@given(
    policy=st.sampled_from(list(PRESETS)),
    parts=st.tuples(ARRIVALS, FAULTS, NETWORKS, CANCELS),
    seed=st.integers(0, 2**16),
)
def test_every_query_has_one_outcome_in_any_fleet(policy: str, parts: tuple[dict[str, Any], ...], seed: int) -> None:
    values: dict[str, Any] = {"workers": 5}
    for part in parts:
        values |= part
    scenario, chosen = make_scenario(values), get_policy(policy, warmup=20)
    point = run_point(chosen, scenario, queries=120, seed=seed, warmup=30)
    assert point.queries == point.answers + point.rejected >= 120
    assert point.answers == sum(point.answered.values())
    assert 0 < point.busy_seconds <= point.fleet_seconds * (1 + 1e-9)
    assert point.latencies.quantile(0.0) >= scenario.gateway
    assert point.a_o == point.a_a == 1.0
    assert point == run_point(chosen, scenario, queries=120, seed=seed, warmup=30)


@pytest.mark.parametrize("cancel", ["nothing", "cooperative", "kill"])
@pytest.mark.parametrize("policy", ["collage", "parity", "replicate"])
def test_what_is_kept_does_not_grow_with_the_queries(policy: str, cancel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Simulator, Fleet, Tally]] = []
    begin = Simulator.begin

    def watched(simulator: Simulator, fleet: Fleet) -> None:
        seen.append((simulator, fleet, simulator._tally))
        begin(simulator, fleet)

    monkeypatch.setattr(Simulator, "begin", watched)
    scenario = make_scenario({"workers": 8, "load": 0.3, "cancel": {"effect": cancel, "restart": 0.05}})
    run_point(PRESETS[policy], scenario, queries=3000, seed=1)
    ((simulator, fleet, tally),) = seen
    kept = [tally._open, fleet._runs, simulator._heap, simulator._joints, simulator._kept, simulator._told]
    assert max(map(len, kept)) < 100


def test_every_policy_meets_the_same_workers() -> None:
    slowdown = {"factor": 5, "normal_seconds": 9, "slow_seconds": 3, "together": 2}
    scenario = make_scenario({
        "workers": 6, "load": 0.5, "slowdowns": [slowdown], "crashes": {"every": 50, "restart": 1},
    })  # fmt: skip

    def met(policy: Policy) -> list[Any]:
        names = [f"w{index}" for index in range(6)]
        machines = make_machines(scenario, worker_roles(policy, names), np.random.SeedSequence(3))
        return [
            (m.name, [m.times.draw(0.0) for _ in range(600)], m.phases[0].at(30.0), m.failures.exponential(1.0))
            for m in machines
            if m.failures is not None
        ]

    plain = met(PRESETS["none"])
    assert len(plain) == 6
    assert all(met(policy) == plain for policy in PRESETS.values())
    # Two policies that decide alike cannot be told apart; warm-up and queries are counted off the same arrivals.
    none, equal = (run_point(PRESETS[name], scenario, queries=500, seed=3) for name in ("none", "equal"))
    assert none == equal


def test_an_oracle_is_no_worse_than_hedging_and_an_ideal_no_worse_than_an_oracle() -> None:
    scenario = make_scenario({"workers": 20, "load": 0.5, "times": {"kind": "profile", "slow_share": 0.03}})
    foresight = get_policy("hedge", trigger_quantile=0.9999)
    none = run_point(PRESETS["none"], scenario, queries=4000, seed=1)
    hedge = run_point(get_policy("hedge"), scenario, queries=4000, seed=1)
    oracle = run_point(foresight, scenario.changed(oracle=True), queries=4000, seed=1)
    ideal = run_point(PRESETS["none"], scenario.changed(no_stragglers=True), queries=4000, seed=1)
    assert ideal.p99 <= oracle.p99 < 0.9 * hedge.p99 < 0.8 * none.p99
    assert oracle.backups_per_query == pytest.approx(0.03, rel=0.35)
    assert oracle.degraded_share == 0


def test_energy_is_that_of_the_stated_power() -> None:
    scenario = make_scenario({"workers": 10, "load": 0.5, "power": {"idle": 10, "busy": 30}})
    point = run_point(PRESETS["none"], scenario, queries=2000, seed=1)
    mean_power = 10 + 20 * point.utilisation
    assert point.energy == pytest.approx(1000 * mean_power * point.fleet_seconds / 2000)
    assert point.worker_seconds == pytest.approx(scenario.mean, rel=0.05)
    dearer = run_point(PRESETS["none"], scenario.changed(**{"power.busy": 60}), queries=2000, seed=1)
    assert dearer == replace(point, joules=dearer.joules)
    assert dearer.joules > point.joules
