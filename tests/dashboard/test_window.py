"""The sliding window behind the first page's numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.dispatch import Source
from collage.serving._window import AnswerWindow


def test_an_empty_window_has_no_percentiles() -> None:
    summary = AnswerWindow().summary(now=5.0)
    assert summary["latency"] == {"count": 0, "p50": None, "p99": None, "p999": None}
    assert (summary["rate"], summary["recent"]) == (0.0, [])


def test_percentiles_are_answers_that_were_given() -> None:
    window = AnswerWindow()
    for index in range(1000):
        window.add(0.0, (index + 1) / 1000, Source.SINGLE)
    latency = window.summary(now=0.0)["latency"]
    assert latency == {"count": 1000, "p50": 0.5, "p99": 0.99, "p999": 0.999}


@given(times=st.lists(st.floats(0, 300), max_size=40), now=st.floats(300, 400))
def test_only_what_is_young_enough_counts(times: list[float], now: float) -> None:
    window = AnswerWindow(length=60.0)
    for time in sorted(times):
        window.add(time, 0.1, Source.COLLAGE)
    assert window.summary(now)["latency"]["count"] == sum(time > now - 60.0 for time in times)


def test_the_rate_is_over_the_time_that_is_covered() -> None:
    window = AnswerWindow(length=60.0)
    for index in range(41):
        window.add(index * 0.25, 0.1, Source.SINGLE)
    assert window.summary(now=10.0)["rate"] == pytest.approx(4.1)


def test_a_busy_window_stays_small_and_keeps_the_backups() -> None:
    window = AnswerWindow()
    for index in range(30_000):
        window.add(index / 1000, 0.1, Source.COLLAGE if index % 200 == 0 else Source.SINGLE)
    summary = window.summary(now=30.0)
    assert summary["latency"]["count"] == 20_000
    assert summary["rate"] == pytest.approx(1000, rel=0.01)
    sources = [dot["source"] for dot in summary["recent"]]
    assert sources.count("collage") == 100
    assert 150 <= sources.count("single") <= 300
