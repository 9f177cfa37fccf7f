"""Slowness by the clock: exact on cases worked out by hand, and no work is lost or invented."""

from __future__ import annotations

from itertools import chain, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.simulation import make_scenario
from collage.simulation._machines import make_machines
from collage.simulation._speed import Phases, finish


def phases(slow: float, *lengths: float) -> Phases:
    """Normal first; the last length stands for ever."""
    own = chain(lengths, repeat(1e9))
    return Phases((1.0, slow), 0, [lambda: next(own)] * 2)


def test_what_is_running_when_slowness_comes_is_slowed_from_then_on() -> None:
    # Normal to 10, four times slower to 14. From 8: 2 s done by 10, 1 by 14, the other 2 by 16.
    assert finish([phases(0.25, 10.0, 4.0)], 8.0, 5.0) == 16.0
    assert finish([phases(0.25, 10.0, 4.0)], 8.0, 2.0) == 10.0
    assert finish([phases(0.25, 10.0, 4.0)], 11.0, 0.5) == 13.0
    assert finish([phases(0.0, 10.0, 4.0)], 9.0, 2.0) == 15.0


def test_several_kinds_of_slowness_multiply() -> None:
    # 0.5 from 2 to 6, 0.25 from 4 to 8: speeds 1, 0.5, 0.125, 0.25, 1 change at 2, 4, 6, 8. From 0: 2 + 1 + 0.25 + 0.5.
    both = [phases(0.5, 2.0, 4.0), phases(0.25, 4.0, 4.0)]
    assert finish(both, 0.0, 4.0) == 8.25


@given(
    lengths=st.lists(st.floats(0.01, 5), min_size=1, max_size=30),
    slow=st.floats(0, 0.9),
    jobs=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 3)), min_size=1, max_size=20),
)
def test_jobs_in_a_row_get_the_work_that_the_clock_allows(
    lengths: list[float], slow: float, jobs: list[tuple[float, float]]
) -> None:
    """The same end, whether the past was forgotten or not; the speed between start and end adds up to the work."""
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    kept, now = phases(slow, *lengths), 0.0
    for wait, work in jobs:
        now += wait
        end = finish([kept], now, work)
        assert end == finish([phases(slow, *lengths)], now, work)
        speeds = [1.0 if index % 2 == 0 else slow for index in range(len(lengths))]
        inside = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], now), 0, None)
        beyond = max(0.0, end - max(now, edges[-1])) * (1.0 if len(lengths) % 2 == 0 else slow)
        if end < 1e8:
            assert inside @ speeds + beyond == pytest.approx(work, rel=1e-6, abs=1e-6)
        now = end


def test_workers_of_a_host_are_slow_together_and_hosts_are_not() -> None:
    scenario = make_scenario({
        "workers": 4, "load": 0.5, "slowdowns": [{"factor": 5, "normal_seconds": 9, "slow_seconds": 3, "together": 2}],
    })  # fmt: skip
    roles = {f"w{index}": frozenset() for index in range(4)}
    machines = make_machines(scenario, roles, np.random.SeedSequence(1))
    first, second, third, fourth = (machine.phases[0] for machine in machines)
    assert first is second
    assert third is fourth
    assert first is not third
    slow = 0
    for when in range(40_000):
        first.forget(when)
        slow += first.at(when)[0] < 1
    assert slow / 40_000 == pytest.approx(3 / 12, rel=0.1)


@pytest.mark.parametrize(
    "slowness",
    [
        {"slowdowns": [{"factor": 4, "normal_seconds": 6, "slow_seconds": 2}]},
        {"pauses": {"every": 5, "seconds": 0.5}},
        {"slowdowns": [{"factor": 2, "normal_seconds": 3, "slow_seconds": 3}], "pauses": {"every": 4, "seconds": 1}},
    ],
    ids=["two-state", "pauses", "both"],
)
def test_the_mean_that_load_is_measured_by_is_that_of_a_worker_that_is_never_idle(slowness: dict[str, object]) -> None:
    scenario = make_scenario({
        "workers": 1, "load": 0.5, "times": {"kind": "shifted-exponential", "shift": 0.1}, **slowness,
    })  # fmt: skip
    (machine,) = make_machines(scenario, {"w0": frozenset()}, np.random.SeedSequence(2))
    now = 0.0
    for _ in range(20_000):
        now = finish(machine.phases, now, machine.times.draw(now))
    assert now / 20_000 == pytest.approx(scenario.mean, rel=0.05)
