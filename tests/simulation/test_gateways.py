"""Several gateways before one pool: one of them is the plain simulator, and each design does what it says."""

from __future__ import annotations

import pytest

from collage.dispatch import get_policy
from collage.exceptions import SettingsError
from collage.simulation import PointResult, Scenario, make_scenario, merge_points, run_point

POOLS = ("own", "lend", "blind", "probe", "queue")


def scenario(count: int | None, pool: str = "own", *, workers: int = 64, load: float = 0.7, **more: object) -> Scenario:
    values: dict[str, object] = {"workers": workers, "load": load, "costs": {"collage": {"ratio": 0.83}}}
    network = more.pop("network", {"delay": 0.0005} if count else None)
    gateways = {key: more.pop(key) for key in ("busiest", "probes", "look") if key in more}
    if count is not None:
        values["gateways"] = {"count": count, "pool": pool} | gateways
    return make_scenario(values | {"network": network} | more)


def run(modelled: Scenario, policy: str = "collage", *, seed: int = 1, queries: int = 3000) -> PointResult:
    return run_point(get_policy(policy), modelled, queries=queries, seed=seed, warmup=1500)


@pytest.mark.parametrize("policy", ["none", "collage"])
def test_one_gateway_with_its_own_workers_is_the_plain_simulator(policy: str) -> None:
    plain, one = run(scenario(None), policy), run(scenario(1, "own", network=None), policy)
    assert one.latencies == plain.latencies
    assert (one.answered, one.backups_sent, one.tiles_sent) == (plain.answered, plain.backups_sent, plain.tiles_sent)
    assert one.busiest == one.latencies  # of one, it is all
    assert one.extra_work == pytest.approx(plain.extra_work, rel=0.1)  # by a job's begin here, by its end there


@pytest.mark.parametrize("pool", POOLS)
def test_the_same_seed_gives_the_same_result_and_every_query_has_its_outcome(pool: str) -> None:
    first = run(scenario(4, pool))
    assert run(scenario(4, pool)) == first
    assert run(scenario(4, pool), seed=2) != first
    assert first.answers == 3000
    assert not first.rejected


def test_gateways_that_send_blindly_wait_behind_each_other_and_asking_helps() -> None:
    own, probe, blind = (run(scenario(4, pool), "none") for pool in ("own", "probe", "blind"))
    assert own.p50 < probe.p50 < blind.p50
    assert own.p99 < probe.p99 < blind.p99


def test_more_probes_find_emptier_workers() -> None:
    few, many = (run(scenario(4, "probe", probes=probes), "none") for probes in (2, 16))
    assert many.p50 < few.p50


def test_workers_are_lent_to_the_gateway_that_gets_too_much() -> None:
    # The first of four gets as much as its quarter of the workers can do; all together are at half of that.
    own, lend = (run(scenario(4, pool, load=0.5, busiest=2.0)) for pool in ("own", "lend"))
    assert own.moved == 0
    assert lend.moved > 0
    assert lend.busiest.quantile(0.99) < own.busiest.quantile(0.99) / 2
    assert own.busiest.count == pytest.approx(1500, rel=0.1)  # half of all queries


def test_a_gateways_groups_are_its_own_so_small_gateways_share_backups_less() -> None:
    one, many = (run(scenario(count, load=0.3)) for count in (1, 16))
    assert many.tiles_per_backup < one.tiles_per_backup - 1


def test_each_gateways_budget_bounds_the_sum() -> None:
    for pool in POOLS:
        found = run(scenario(8, pool, load=0.8), queries=1500)
        assert found.extra_work <= 0.2 + 0.05, pool  # the share, and what was saved up before


def test_a_gateway_that_is_busy_itself_delays_its_own_queries() -> None:
    # 290 queries a second, one gateway that can do 333 and two that can do as many each.
    one, two = (run(scenario(count, gateway=0.003), "none") for count in (1, 2))
    assert two.p50 < one.p50 - 0.003


def test_results_of_several_seeds_add_up() -> None:
    both = [run(scenario(4, "lend", busiest=1.5), seed=seed) for seed in (1, 2)]
    merged = merge_points(both)
    assert merged.busiest.count == sum(point.busiest.count for point in both)
    assert merged.moved == sum(point.moved for point in both)
    assert merged.moved_per_query == merged.moved / 6000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gateways": {"count": 100}}, "gateways.count: 100 for 64 workers"),
        ({"gateways": {"count": 2, "busiest": 3}}, "gateways.busiest"),
        ({"gateways": {"pool": "central"}}, "gateways.pool"),
        ({"crashes": {"every": 10, "restart": 1}}, "crashes: is not simulated"),
        ({"network": {"delay": 0.1, "slots": 2}}, "network.slots: is not simulated"),
        ({"arrivals": {"kind": "rounds"}, "load": None}, "arrivals: is not simulated"),
    ],
)
def test_what_it_cannot_do_is_said(change: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make_scenario({"workers": 64, "load": 0.5, "gateways": {"count": 2}} | change)


@pytest.mark.parametrize("policy", ["collage-dedicated", "parity"])
def test_policies_that_need_more_of_a_pool_are_refused(policy: str) -> None:
    with pytest.raises(SettingsError, match="gateways"):
        run(scenario(2), policy)
