"""The queue and its clients, one situation at a time: who is served, who is refused, and what is left running."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Source


def test_singles_are_served_first_come_first_served(stage: Any) -> None:
    s = stage("none", workers=2)
    queries = [s.submit() for _ in range(5)]
    assert [start.queries for start in s.running.values()] == [(queries[0],), (queries[1],)]
    s.complete(s.job_of(queries[1]))
    assert s.job_of(queries[2])
    assert s.answers() == {queries[1]: Source.SINGLE}
    assert s.settled() == [queries[1]]
    assert s.dispatcher.view(s.now).waiting == 2


def test_deadlines(stage: Any) -> None:
    s = stage("collage", workers=2, trigger_quantile=0.1, patience_quantile=0.9)
    s.learn()
    assert s.rejections() == {}
    gone = s.submit(within=0.0)
    assert s.rejections() == {gone: "deadline"}
    late = s.submit(within=0.5)
    s.wait(0.5)
    assert s.rejections() == {gone: "deadline", late: "deadline"}
    assert s.job_of(late) in s.cancelled()  # and still has its slot
    for job in list(s.running):
        s.complete(job)
    held = s.submit(within=1.05)
    s.wait(1.03)
    for start in s.backups():
        s.complete(start.job)
    s.wait(0.1)
    assert s.answers() == {held: Source.COLLAGE}  # better than nothing


def test_a_client_that_goes_takes_its_jobs_along(stage: Any) -> None:
    s = stage("none", workers=1)
    first, second = s.submit(), s.submit()
    s.do(s.dispatcher.cancelled(second, s.now))
    s.do(s.dispatcher.cancelled(first, s.now))
    assert s.rejections() == {first: "cancelled", second: "cancelled"}
    job = s.job_of(first)
    assert s.cancelled() == [job]
    third = s.submit()
    assert list(s.running) == [job]  # the slot is not free before the engine says so
    s.free(job)
    assert s.job_of(third)


def test_the_queue_is_bounded(stage: Any) -> None:
    s = stage("none", workers=1, settings={"max_queue": 2})
    queries = [s.submit() for _ in range(5)]
    assert s.rejections() == {queries[3]: "overload", queries[4]: "overload"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_losers_of_controls_run_to_their_end(stage: Any, share: float) -> None:
    s = stage("hedge", settings={"control_share": share})
    s.learn()
    query = s.submit()
    s.wait(1.2)
    s.complete(s.backups()[0].job)
    assert s.answers() == {query: Source.REPLICA}
    loser = s.job_of(query)
    assert s.cancelled() == ([] if share else [loser])
    assert s.settled() == ([] if share else [query])
    s.complete(loser)
    assert s.settled() == [query]


def test_what_a_worker_can_be_seen_doing(stage: Any) -> None:
    s = stage("collage", workers=2)
    s.learn()
    s.submit()
    s.wait(0.4)
    view = s.dispatcher.view(s.now)
    assert sorted(worker.state for worker in view.workers) == ["busy", "idle"]
    assert max(worker.running for worker in view.workers) == pytest.approx(0.4)
    assert view.patience == pytest.approx(1.095, rel=0.02)
    assert view.trigger == pytest.approx(1.075, rel=0.02)
    assert all(worker.speed == pytest.approx(1.0, rel=0.1) for worker in view.workers if worker.speed)
