"""The autoscaler in virtual time: a fleet that follows a load, against a fluid model of workers and queue."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.dispatch import Autoscaler, Load, Scaling

MEAN = 0.1  # seconds of a single


class Fluid:
    """Workers that start after `start_up` seconds and work off a queue, without chance. `rate`: queries a second."""

    def __init__(self, scaling: Scaling, rate: Callable[[float], float], start_up: float = 3.0) -> None:
        self.scaler = Autoscaler(scaling)
        self.rate = rate
        self.start_up = start_up
        self.now = 0.0
        self.up = scaling.least
        self.starting: list[float] = []  # ready at
        self.submitted = self.ended = self.queue = 0.0
        self.history: list[tuple[float, int]] = []

    @property
    def there(self) -> int:
        return self.up + len(self.starting)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            for ready in [at for at in self.starting if at <= self.now]:
                self.starting.remove(ready)
                self.up += 1
                self.scaler.started(self.start_up)
            arrived = self.rate(self.now)
            self.submitted += arrived
            done = min(self.queue + arrived, self.up / MEAN)
            self.queue += arrived - done
            self.ended += done
            load = Load(round(self.submitted), round(self.ended), self.ended * MEAN, round(self.queue))
            wanted = self.scaler.look(load, self.there, self.now)
            if wanted > self.there:
                self.starting += [self.now + self.start_up] * (wanted - self.there)
            elif wanted < self.there:
                gone = min(len(self.starting), self.there - wanted)
                del self.starting[len(self.starting) - gone :]
                self.up -= self.there - wanted
            self.history.append((self.now, self.there))


def scaling(**changes: float) -> Scaling:
    return Scaling(**({"least": 1, "most": 40, "target": 0.5, "window_seconds": 10, "down_seconds": 30} | changes))  # type: ignore[arg-type]


def test_a_steady_load_gets_what_the_target_says_and_then_no_change() -> None:
    fleet = Fluid(scaling(), lambda _: 50.0)  # five workers' work: ten at half
    fleet.run(300)
    (there,) = {there for now, there in fleet.history if now > 100}
    assert there in (10, 11)  # within the tolerance, whichever was first
    assert fleet.queue == 0


def test_a_load_that_doubles_is_followed_at_once_and_one_that_halves_after_the_hold() -> None:
    fleet = Fluid(scaling(), lambda now: 100.0 if 200 <= now < 400 else 50.0)
    fleet.run(600)
    at = dict(fleet.history)
    before = at[199]
    assert before in (10, 11)
    # Twice the load, all of it measured within a window; never beyond what the queue asks for on top.
    assert 19 <= at[215] <= 22
    twice = at[398]
    assert 19 <= twice <= 22  # 20, within the tolerance
    assert min(there for now, there in fleet.history if 215 < now < 430) == twice
    assert at[600] in (10, 11)


def test_overload_far_beyond_all_workers_is_seen_though_they_cannot_be_busier_than_busy() -> None:
    fleet = Fluid(scaling(), lambda now: 10.0 if now < 100 else 150.0, start_up=5.0)
    fleet.run(160)
    assert fleet.history[-1][1] >= 30
    assert fleet.queue == 0


def test_a_load_that_flaps_keeps_the_workers_that_its_peaks_need() -> None:
    fleet = Fluid(scaling(), lambda now: 100.0 if now % 20 < 10 else 20.0)
    fleet.run(400)
    assert len({there for now, there in fleet.history if now > 100}) == 1


def test_workers_that_start_slowly_are_not_given_up_for_a_short_dip() -> None:
    def dip(now: float) -> float:
        return 20.0 if 300 <= now < 380 else 100.0

    slow, quick = Fluid(scaling(), dip, start_up=40.0), Fluid(scaling(), dip, start_up=1.0)
    slow.run(400)
    quick.run(400)
    assert min(there for now, there in slow.history if now > 290) == slow.history[289][1]
    assert min(there for now, there in quick.history if now > 290) < quick.history[289][1]


def test_nothing_is_said_before_anything_is_measured() -> None:
    scaler = Autoscaler(scaling())
    assert scaler.look(Load(0, 0, 0.0, 0), 7, 0.0) == 7
    assert scaler.look(Load(1000, 0, 0.0, 1000), 7, 1.0) == 7
    assert scaler.demand is None


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 50), st.integers(0, 500)), max_size=40),
    st.integers(1, 5),
    st.integers(0, 10),
)
def test_the_number_is_always_within_the_bounds(steps: list[tuple[int, float, int]], least: int, more: int) -> None:
    scaler = Autoscaler(scaling(least=least, most=least + more))
    submitted, ended, seconds = 0, 0, 0.0
    there = least
    for number, (queries, work, waiting) in enumerate(steps):
        submitted, ended, seconds = submitted + queries, ended + queries, seconds + work
        there = scaler.look(Load(submitted, ended, seconds, waiting), there, float(3 * number))
        assert least <= there <= least + more


@pytest.mark.parametrize(
    "wrong",
    [
        {"least": 0},
        {"least": 5, "most": 4},
        {"target": 0.0},
        {"target": 1.5},
        {"window_seconds": 0},
        {"down_seconds": 1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"least|target|window"):
        scaling(**wrong)
