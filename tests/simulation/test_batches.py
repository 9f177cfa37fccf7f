"""Singles that share a call: times as worked out by hand, nothing changed where none do, and one outcome each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collage.dispatch import PRESETS, Answer, Reject, Settled, Source, Start, get_policy
from collage.exceptions import SettingsError
from collage.simulation import make_scenario, run_point

# One worker; the first query is served alone while three others come, and no more than two share a call.
SHARED = {"max_batch": 2, "overhead_share": 0.25}


def test_a_shared_calls_times_are_those_worked_out(play: Any) -> None:
    arrivals = [0.0, 0.1, 0.2, 0.3]
    # Alone 1 s; then two in a call: 1 x (0.25 + 0.75 x 2) = 1.75, until 2.75; then the last, alone.
    played = play("none", arrivals, [[1.0]], **SHARED)
    assert played.latencies == pytest.approx([1.0, 2.65, 2.55, 3.45])
    assert [when for when, *_ in played.starts] == pytest.approx([0.0, 1.0, 2.75])
    # Compute that is flat up to two: every call takes 1 s.
    played = play("none", arrivals, [[1.0]], **SHARED, batch_flat=2)
    assert played.latencies == pytest.approx([1.0, 1.9, 1.8, 2.7])
    # Flat up to 1.5, and 0.2 s a call beside it: 0.25 + 0.75 x 2 / 1.5 = 1.25 draws.
    costs = {"single": {"overhead": 0.2}}
    played = play("none", arrivals, [[1.0, 2.0, 1.0]], **SHARED, batch_flat=1.5, costs=costs)
    assert [when for when, *_ in played.starts] == pytest.approx([0.0, 1.2, 1.2 + 2 * 1.25 + 0.2])


def test_a_call_takes_all_that_wait_as_its_worker_is_free(play: Any) -> None:
    # Both workers are free at 1.0, but one after the other: the first takes both queries, and the second has none.
    played = play("none", [0.0, 0.0, 0.5, 0.6], [[1.0], [1.0]], **SHARED)
    assert played.latencies == pytest.approx([1.0, 1.0, 1.5 + 0.75, 1.4 + 0.75])
    assert [len(action.queries) for _, action in played.said if isinstance(action, Start)] == [1, 1, 2]


def test_an_oracle_hurries_all_that_share_a_call_that_straggles(play: Any) -> None:
    # Three medians, 3 s, are 5.25 s for a call of two: the one of 4 draws straggles, and both its queries are hurried.
    own = {"times": {"kind": "shifted-exponential", "shift": 1.0}, "oracle": True, **SHARED}
    arrivals = [*map(float, range(0, 40, 2)), 50.0, 50.1, 50.2]
    for draws, hurried in ((2.9, []), (4.0, [21, 22])):
        times = [[*[1.0] * 21, draws, 1.0]]
        played = play("hedge", arrivals, times, changes={"warmup": 20}, scenario=own)
        assert played.simulator.dispatcher.hurried == hurried


@pytest.mark.parametrize("policy", ["none", "hedge", "collage", "auto", "parity"])
def test_the_same_seed_gives_the_same_point(policy: str) -> None:
    scenario = make_scenario({"workers": 4, "load": 1.1, "max_batch": 4, "batch_flat": 3})
    first, second = (run_point(get_policy(policy), scenario, queries=1000, seed=3, warmup=300) for _ in range(2))
    assert first == second
    assert first.answers == 1000


def test_without_shared_calls_how_compute_grows_changes_nothing() -> None:
    """And at a load where they are shared, everything."""
    for policy in ("none", "collage"):
        plain, flat, shared = (
            run_point(
                get_policy(policy),
                make_scenario({"workers": 4, "load": 0.9, "overhead_share": 0.1, **more}),
                queries=1000,
                seed=1,
            )
            for more in ({}, {"batch_flat": 8}, {"batch_flat": 8, "max_batch": 8})
        )
        assert plain == flat
        assert shared.busy_seconds < plain.busy_seconds


def test_several_gateways_share_calls_too() -> None:
    alone, shared = (
        run_point(
            get_policy("none"),
            make_scenario({"workers": 6, "load": 0.9, "gateways": {"count": 2}, "batch_flat": 4, "max_batch": most}),
            queries=1000,
            seed=1,
        )
        for most in (1, 4)
    )
    assert shared.busy_seconds < alone.busy_seconds
    assert shared.answers == 1000


@pytest.mark.parametrize(("key", "value"), [("max_batch", 0), ("batch_flat", 0.5)])
def test_a_setting_out_of_range_is_named(key: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"^scenario: {key}: "):
        make_scenario({"load": 0.5, key: value})


TIMES = st.lists(st.sampled_from([0.5, 1.0, 1.0, 1.0, 7.0]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=st.sampled_from(sorted(set(PRESETS) - {"collage-dedicated"})),
    gaps=st.lists(st.sampled_from([0.0, 0.1, 0.4, 3.0]), min_size=1, max_size=40),
    times=st.lists(TIMES, min_size=1, max_size=4),
    max_batch=st.integers(2, 8),
    flat=st.sampled_from([1.0, 2.5, 8.0]),
    crashes=st.booleans(),
    cancel=st.sampled_from(["nothing", "cooperative", "kill"]),
)
def test_every_query_has_one_outcome(
    play: Any, policy: str, gaps: list[float], times: list[list[float]], **more: Any
) -> None:
    arrivals = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    most = more["max_batch"]
    own: dict[str, Any] = {"max_batch": most, "batch_flat": more["flat"], "cancel": {"effect": more["cancel"]}}
    if more["crashes"]:
        own["crashes"] = {"every": 5.0, "restart": 1.0}
    played = play(policy, arrivals, times, changes={"warmup": 3}, failing={0: (2.0, 5.0)}, scenario=own)
    actions = [action for _, action in played.said]
    outcomes = Counter(action.query for action in actions if isinstance(action, Answer | Reject))
    assert outcomes == dict.fromkeys(range(len(arrivals)), 1)
    assert max(Counter(action.query for action in actions if isinstance(action, Settled)).values(), default=0) <= 1
    singles = [action.queries for action in actions if isinstance(action, Start) and action.source is Source.SINGLE]
    assert all(len(set(queries)) == len(queries) <= most for queries in singles)
