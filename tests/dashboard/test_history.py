"""The day behind the first page's lines: right, and no bigger after a day than after a minute."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from collage.dispatch import Source
from collage.serving._history import COLUMNS, COUNTERS, History, Totals
from collage.serving._recent import RecentLatencies
from collage.serving._stories import Stories
from collage.serving._story import JobStory, QueryStory

INTERVAL = 5.0
GAUGES = {"agreement": 0.9, "in_flight": 3.0, "queued": 0.0, "workers_up": 4.0, "workers_wanted": 4.0}


def totals(answers: float, single: float = 0.0, extra: float = 0.0) -> Totals:
    return Totals(dict.fromkeys(COUNTERS, 0.0) | {"answers_single": answers}, single, extra)


@pytest.mark.parametrize("q", [0.5, 0.99, 0.999])
def test_percentiles_are_right_to_within_a_bucket(q: float) -> None:
    recent, seconds = RecentLatencies(4), np.random.default_rng(1).lognormal(-3, 1, 6000)
    for number, value in enumerate(seconds):
        recent.add(value)
        if number in (2000, 4000):
            recent.roll()
    value, used = recent.quantile(q, least=3)
    assert value == pytest.approx(np.quantile(seconds, q, method="inverted_cdf"), rel=0.016)
    assert used == 3


def test_a_percentile_takes_the_shortest_time_that_suffices() -> None:
    recent = RecentLatencies(4)
    for interval, (seconds, count) in enumerate([(8.0, 500), (1.0, 150), (2.0, 100)]):
        for _ in range(count):
            recent.add(seconds)
        if interval < 2:
            recent.roll()
    assert recent.quantile(0.5, 1) == (pytest.approx(2.0, rel=0.02), 1)
    assert recent.quantile(0.99, 1) == (pytest.approx(2.0, rel=0.02), 2)  # 200 are needed
    assert recent.quantile(0.99, 3) == (pytest.approx(8.0, rel=0.02), 3)
    assert recent.quantile(0.999, 1)[1] == 0  # 2000 are needed
    recent.roll()
    recent.roll()  # the oldest is forgotten
    assert recent.quantile(0.99, 4) == (pytest.approx(2.0, rel=0.02), 4)


def test_latencies_beyond_all_buckets_are_counted() -> None:
    recent = RecentLatencies(1)
    for _ in range(20):
        recent.add(0.0)
    assert recent.quantile(0.5, 1)[0] < 2e-4
    for _ in range(40):
        recent.add(1e9)
    assert recent.quantile(0.5, 1)[0] > 900


def test_a_point_says_what_happened_in_its_interval() -> None:
    history = History(now=100.0, unix=5000.0)
    for _ in range(20):
        history.answered(0.02)
        history.without_backups(0.5)
    history.tick(105.0, totals(10, single=4.0, extra=1.0), GAUGES)
    history.tick(110.0, totals(10, single=8.0, extra=1.0), GAUGES | {"agreement": None})
    points = history.series["15m"].read(since=0)
    assert points["at"] == [5005.0, 5010.0]
    assert set(points) == {"at", *COLUMNS}
    assert points["answers_single"] == [2.0, 0.0]
    assert points["extra_work"] == [0.25, 0.125]
    assert points["agreement"] == [0.9, None]
    assert points["answered_p50"][0] == pytest.approx(0.02, rel=0.016)
    assert points["without_p50"][0] == pytest.approx(0.5, rel=0.016)
    assert points["without_p99"] == [None, None]
    assert history.windows["without_p50"] == 10.0  # the second interval has none of its own
    assert history.series["15m"].read(since=5005.0)["at"] == [5010.0]
    assert history.series["24h"].read(since=0)["at"] == []


def test_coarse_points_are_over_all_of_their_interval() -> None:
    history = History(now=0.0, unix=0.0)
    for tick in range(1, 121):
        for _ in range(2):
            history.answered(0.1 if tick <= 60 else 0.2)
        history.tick(tick * INTERVAL, totals(tick * 2), GAUGES)
    points = history.series["24h"].read(0)
    assert points["at"] == [300.0, 600.0]
    assert points["answered_p50"] == [pytest.approx(0.1, rel=0.016), pytest.approx(0.2, rel=0.016)]
    assert points["answers_single"] == [0.4, 0.4]
    assert len(history.series["3h"].read(0)["at"]) == 10


def test_a_process_that_stood_still_leaves_a_gap() -> None:
    history = History(now=0.0, unix=0.0)
    history.tick(5.0, totals(1), GAUGES)
    history.tick(500.0, totals(100), GAUGES)
    points = history.series["15m"].read(0)
    assert points["in_flight"] == [3.0, None, 3.0]
    assert points["at"] == sorted(points["at"])


def _queries(day: range) -> Iterator[QueryStory]:
    """One each interval, some of which a backup answers."""
    for number in day:
        entered = number * INTERVAL
        story = QueryStory(number, entered)
        story.jobs = [JobStory(2 * number, Source.SINGLE, "w0", 1, entered)]
        story.end(entered + 0.1, Source.COLLAGE if number % 10 == 0 else Source.SINGLE)
        yield story


def test_a_day_of_updates_takes_no_more_memory_than_an_hour() -> None:
    history, stories = History(now=0.0, unix=0.0), Stories()
    day = round(86_400 / INTERVAL)
    sizes = []
    for story in _queries(range(1, day + 1)):
        stories.add(story)
        history.answered(0.1)
        if story.query % 100 == 0:
            history.without_backups(0.3)
        history.tick(story.query * INTERVAL, totals(story.query, single=story.query), GAUGES)
        if story.query in (day // 24, day):
            history.series["24h"].read(0)
            stories.told(story.query * INTERVAL)
            sizes.append(len(pickle.dumps((history, stories))))  # all that they hold
    assert sizes[1] < sizes[0] + 2000  # bytes, of 4 MB: some numbers have more digits
    assert [len(series.read(0)["at"]) for series in history.series.values()] == [180, 180, 288]
    assert all(len(told) == 8 for told in stories.told(day * INTERVAL).values())
