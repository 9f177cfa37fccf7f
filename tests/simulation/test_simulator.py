"""Points: the same for the same seed, near queueing theory, and redundancy does what it is for."""

from __future__ import annotations

import math
import pickle

import pytest

from collage.dispatch import PRESETS, get_policy
from collage.exceptions import SettingsError
from collage.simulation import PointResult, Scenario, make_scenario, merge_points, run_point


def scenario(workers: int = 10, load: float = 0.5, **values: object) -> Scenario:
    return make_scenario({"workers": workers, "load": load, **values})


def exponential(mean: float = 1.0) -> dict[str, object]:
    return {"kind": "shifted-exponential", "beyond": mean}


def constant(seconds: float = 1.0) -> dict[str, object]:
    return {"kind": "shifted-exponential", "shift": seconds}


@pytest.mark.parametrize("policy", PRESETS)
def test_the_same_seed_gives_the_same_point_and_another_seed_another(policy: str) -> None:
    first, second, other = (
        run_point(PRESETS[policy], scenario(load=0.4), queries=1000, seed=seed, warmup=500) for seed in (3, 3, 4)
    )
    assert pickle.loads(pickle.dumps(first)) == second
    assert first != other
    assert first.queries == first.answers == 1000
    assert sum(first.answered.values()) == 1000


def test_an_m_d_1_queue_waits_as_pollaczek_and_khinchine_say() -> None:
    load = 0.5
    point = run_point(PRESETS["none"], scenario(1, load, times=constant()), queries=20_000, seed=5)
    assert point.mean == pytest.approx(1 + load / (2 * (1 - load)), rel=0.03)
    assert point.utilisation == pytest.approx(load, rel=0.03)


def test_an_m_m_c_queue_waits_as_erlang_says() -> None:
    servers, load = 4, 0.8
    offered = servers * load
    full = offered**servers / math.factorial(servers) / (1 - load)
    waits = full / (full + sum(offered**n / math.factorial(n) for n in range(servers)))
    point = run_point(PRESETS["none"], scenario(servers, load, times=exponential()), queries=20_000, seed=1)
    assert point.mean == pytest.approx(1 + waits / (servers * (1 - load)), rel=0.05)


def test_repeats_share_jobs_where_the_policy_lets_them_and_change_nothing_else() -> None:
    """Half of the queries repeat one of the last five: sharing saves work, and all are answered."""
    again = scenario(20, 0.7, repeats={"share": 0.5, "among": 5})
    plain, apart, shared = (
        run_point(get_policy("collage", share_repeats=share), where, queries=3000, seed=1)
        for share, where in ((False, scenario(20, 0.7)), (False, again), (True, again))
    )
    assert plain == apart  # the same arrivals and times
    assert shared.answers == 3000
    assert 0.3 < shared.shared_share < 0.5
    assert shared.worker_seconds < (1 - shared.shared_share) * plain.worker_seconds * 1.05
    assert shared.p99 < plain.p99 * 1.1


def test_redundancy_shortens_the_tail_at_the_work_it_is_allowed() -> None:
    found = {
        name: run_point(PRESETS[name], scenario(), queries=3000, seed=1)
        for name in ("none", "hedge", "cheap", "collage", "collage-dedicated")
    }
    assert found["none"].extra_work == 0
    for name in list(found)[1:]:
        assert found[name].p99 < 0.6 * found["none"].p99
        assert 0 < found[name].extra_work <= PRESETS[name].budget * 1.02
    assert found["collage"].tiles_per_backup > 3
    assert found["hedge"].degraded_share == 0


@pytest.mark.parametrize("k", [2, 3])
def test_a_parity_rebuilds_what_straggles_alone(k: int) -> None:
    found = {
        name: run_point(PRESETS[name], scenario(load=0.4), queries=2000, seed=1, k=k)
        for name in ("none", "parity", "learned")
    }
    for name in ("parity", "learned"):
        assert k - 0.1 < found[name].tiles_per_backup <= k  # full groups; a few singles sent again
        assert 0 < found[name].degraded_share < 0.1
        assert 0 < found[name].extra_work <= 1.02 / k + 0.05
        assert found[name].p99 < 0.8 * found["none"].p99


def test_points_of_seeds_add_up() -> None:
    points = [run_point(get_policy("hedge"), scenario(), queries=2000, seed=seed) for seed in (1, 2)]
    whole = merge_points(points)
    assert isinstance(whole, PointResult)
    assert whole.queries == 4000
    assert whole.mean == pytest.approx((points[0].mean + points[1].mean) / 2)
    assert min(p.p99 for p in points) <= whole.p99 <= max(p.p99 for p in points)


def test_too_few_workers_are_refused() -> None:
    with pytest.raises(SettingsError, match="leave none for singles"):
        run_point(PRESETS["collage-dedicated"], scenario(1), queries=100, seed=1)


def test_a_backup_costs_by_its_own_size() -> None:
    # Calls of the small grid are nearly free: with both sizes there, groups of up to four must get them.
    costs = {"collage-2x2": {"ratio": 0.05}, "collage-3x3": {"ratio": 1.0}}
    large, both = (
        run_point(PRESETS["collage"], scenario(load=0.3, costs=costs), queries=2000, seed=1, grid=grid)
        for grid in (3, (2, 3))
    )
    assert both.extra_work / both.backups_per_query < 0.7 * large.extra_work / large.backups_per_query
