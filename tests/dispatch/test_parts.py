"""The parts: sketch, budget, watches, workers, presets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.dispatch import PRESETS, Role, Source, get_policy, worker_roles
from collage.dispatch._budget import Budget
from collage.dispatch._sketch import LatencySketch
from collage.dispatch._watch import NEVER, Timers, Watch
from collage.dispatch._workers import WorkerPool
from collage.exceptions import SettingsError


@given(st.lists(st.floats(1e-5, 1000), min_size=1, max_size=300), st.floats(0, 0.999))
def test_a_quantile_is_known_to_within_a_hundredth(times: list[float], share: float) -> None:
    sketch = LatencySketch(memory=1000)
    for seconds in times:
        sketch.add(seconds)
    exact = np.quantile(times, share, method="inverted_cdf")
    assert sketch.quantile(share) == pytest.approx(exact, rel=0.0101)
    assert sketch.mean == pytest.approx(np.mean(times))


def test_a_sketch_forgets() -> None:
    sketch = LatencySketch(memory=100)
    for seconds in [9.0] * 100 + [1.0] * 200:
        sketch.add(seconds)
    assert sketch.quantile(0.99) == pytest.approx(1.0, rel=0.01)
    assert sketch.seen == 300


def test_an_empty_sketch_and_times_beyond_its_buckets() -> None:
    sketch = LatencySketch(memory=100)
    assert sketch.quantile(0.5) == sketch.mean == 0.0
    sketch.add(0.0)
    sketch.add(1e9)
    assert 0 < sketch.quantile(0.1) < 1e-5
    assert sketch.quantile(0.99) > 2000


@given(
    share=st.sampled_from([0.0, 0.1, 0.5]),
    burst=st.sampled_from([1.0, 5.0]),
    wants=st.lists(st.tuples(st.booleans(), st.floats(0.1, 3.0)), max_size=80),
)
def test_a_budget_bounds_the_work_and_not_the_jobs(share: float, burst: float, wants: list[tuple[bool, float]]) -> None:
    singles = LatencySketch(1000)
    singles.add(1.0)
    budget = Budget(share, burst, singles)
    earned = spent = last = 0.0
    for single, seconds in wants:
        if single:
            earned += seconds
            budget.earn(seconds)
        elif budget.allows(1.0):
            budget.spend(1.0)
            budget.spend(seconds - 1.0)  # it took longer or shorter than expected
            spent, last = spent + seconds, seconds
        assert spent - last <= burst + share * earned + 1e-9
        assert budget.balance <= burst + 1e-9
    if share == 0:
        assert spent == 0


def test_timers_and_watches() -> None:
    called: list[tuple[str, float]] = []
    dead: set[str] = set()
    timers = Timers(lambda what: what not in dead)
    for when, what in ((3.0, "c"), (1.0, "a"), (2.0, "b")):
        timers.add(when, lambda what, now: called.append((what, now)), what)
    dead.add("a")
    assert timers.next == 2.0
    timers.run(2.5)
    assert called == [("b", 2.5)]
    timers.run(3.0)
    assert timers.next == NEVER

    watch: Watch[str] = Watch(lambda thing: thing in dead)
    watch.add(1.0, "a")
    watch.add(2.0, "x")
    assert watch.next(5.0) == 7.0
    assert list(watch.due(5.0, 6.9)) == []
    assert list(watch.due(5.0, 7.0)) == ["x"]
    assert watch.next(5.0) == NEVER


def test_dead_timers_do_not_pile_up() -> None:
    dead: set[int] = set()
    timers = Timers(lambda what: what not in dead)
    for number in range(10_000):
        timers.add(1e6 + number, lambda what, now: None, number)
        dead.add(number)
    assert len(timers._heap) < 300


def test_a_pool_prefers_those_that_may_run_least_else_and_were_free_longest() -> None:
    pool = WorkerPool()
    both = frozenset({Role.SINGLE, Role.COLLAGE})
    for name, roles in (("a", both), ("b", frozenset({Role.SINGLE})), ("c", frozenset({Role.SINGLE})), ("d", both)):
        pool.join(name, roles, 1, 0.0)
    taken = []
    while (worker := pool.find(Role.SINGLE)) is not None:
        taken.append(worker.id)
        worker.jobs[len(taken)] = 0.0
        pool.update(worker, 0.0)
    assert taken == ["b", "c", "a", "d"]
    assert pool.find(Role.CHEAP) is None
    assert not pool.can(Role.CHEAP)


def test_presets_are_what_they_are_called() -> None:
    names = ["none", "equal", "replicate", "hedge", "cheap", "parity", "learned", "collage", "collage-dedicated"]
    assert list(PRESETS) == [*names, "auto", "batch"]
    assert PRESETS["hedge"].late_quantile == pytest.approx(0.9)
    assert get_policy("hedge", budget=0.25).late_quantile == pytest.approx(0.75)
    assert {name: policy.code for name, policy in PRESETS.items()} == {
        "none": None,
        "equal": None,
        "replicate": Source.REPLICA,
        "hedge": Source.REPLICA,
        "cheap": Source.CHEAP,
        "parity": Source.PARITY,
        "learned": Source.LEARNED,
        "collage": Source.COLLAGE,
        "collage-dedicated": Source.COLLAGE,
        "auto": Source.COLLAGE,
        "batch": Source.BATCH,
    }


def test_roles_of_a_pool_and_of_a_dedicated_topology() -> None:
    names = ["a", "b", "c"]
    both, single = frozenset({Role.SINGLE, Role.COLLAGE}), frozenset({Role.SINGLE})
    assert worker_roles(PRESETS["collage"], names) == dict.fromkeys(names, both)
    assert worker_roles(PRESETS["equal"], names) == dict.fromkeys(names, single)
    assert worker_roles(PRESETS["hedge"], names) == dict.fromkeys(names, single)
    assert worker_roles(PRESETS["collage-dedicated"], names) == {
        "a": single,
        "b": single,
        "c": frozenset({Role.COLLAGE}),
    }
    with pytest.raises(SettingsError, match="leave none for singles"):
        worker_roles(PRESETS["collage-dedicated"], ["a"])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("colage", {}, "'colage' is no preset; there are none, equal"),
        ("hedge", {"budget": -1}, "policy hedge: budget"),
        ("hedge", {"bugdet": 0.1}, "policy hedge: bugdet"),
        ("hedge", {"code": "single"}, "policy hedge: code"),
        ("hedge", {"dedicated": 1}, "policy hedge: dedicated"),
        ("collage", {"beside": True}, "policy collage: beside"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        get_policy(name, **changes)
