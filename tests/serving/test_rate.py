"""Limits in virtual time: what a bucket lets through, whatever is asked and whenever."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.exceptions import RateLimited, TooLarge
from collage.serving.safety import Tenant, TenantSettings
from collage.serving.safety._rate import Bucket

ASKED = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=60)  # seconds later, queries


@given(ASKED, st.floats(0.1, 50), st.integers(1, 30))
def test_no_window_ever_has_more_than_burst_and_rate(asked: list[tuple[float, int]], rate: float, burst: int) -> None:
    bucket = Bucket(rate, burst)
    times = list(accumulate(pause for pause, _ in asked))
    taken = [(now, count) for now, (_, count) in zip(times, asked, strict=True) if bucket.take(count, now) == 0.0]
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            window = taken[first : last + 1]
            seconds = window[-1][0] - window[0][0]
            assert sum(count for _, count in window) <= burst + rate * seconds + 1e-6 * (burst + len(window))


@given(ASKED, st.floats(0.1, 50), st.integers(1, 30))
def test_who_waits_as_long_as_is_said_gets_through(asked: list[tuple[float, int]], rate: float, burst: int) -> None:
    bucket, now = Bucket(rate, burst), 0.0
    for pause, count in asked:
        now += pause
        wait = bucket.take(count, now)
        assert (wait == float("inf")) == (count > burst)
        if 0 < wait < float("inf"):
            now += wait
            assert bucket.take(count, now) == 0.0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = Bucket(1.0, 1)
    assert bucket.take(1, 100.0) == 0.0
    assert bucket.take(1, 50.0) > 0
    assert bucket.take(1, 50.5) == 0.5


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _tenant(clock: _Clock, **settings: object) -> Tenant:
    return Tenant("a", TenantSettings.model_validate(settings), most=100, burst=1, clock=clock)


def test_a_request_counts_as_its_images_and_a_refused_one_as_nothing() -> None:
    clock = _Clock()
    tenant = _tenant(clock, queries_per_second=2, burst=5)
    with tenant.enter() as admission:
        admission.add(3)
        assert tenant.in_flight == 4
    assert (tenant.in_flight, tenant.queries) == (0, 4)
    with pytest.raises(RateLimited, match="2 queries a second") as refused, tenant.enter() as admission:
        admission.add(2)
    assert refused.value.retry_after == 1.0  # two more than are left, and what was held is given back only now
    with tenant.enter():  # the one that was left is still there
        pass
    with pytest.raises(RateLimited), tenant.enter():
        pass
    clock.now = 0.5
    with tenant.enter():
        pass
    assert tenant.limited == {"rate": 4, "in_flight": 0}
    assert tenant.queries == 6


def test_what_no_wait_would_let_through_is_too_large() -> None:
    with (
        pytest.raises(TooLarge, match="6 in a request; at most 5"),
        _tenant(_Clock(), queries_per_second=1, burst=5).enter() as admission,
    ):
        admission.add(5)
    with pytest.raises(TooLarge, match="at most 3"), _tenant(_Clock(), max_in_flight=3).enter() as admission:
        admission.add(3)


def test_a_full_share_is_refused_until_an_answer_has_gone_out() -> None:
    tenant = _tenant(_Clock(), max_in_flight=2)
    with tenant.enter():
        with tenant.enter():
            with pytest.raises(RateLimited, match="2 of this tenant's queries"), tenant.enter():
                pass
            assert tenant.in_flight == 2
        with tenant.enter():
            pass
    assert tenant.limited["in_flight"] == 1
