"""Workers that die, fall silent or fail, one situation at a time: what they ran is covered."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Role, Source, WorkerState


def test_the_job_of_a_dead_worker_is_covered(stage: Any) -> None:
    s = stage("none", workers=2)
    first, second, third = s.submit(), s.submit(), s.submit()
    s.lose(s.running[s.job_of(first)].worker)
    s.complete(s.job_of(second))
    assert s.running[s.job_of(first)].queries == (first,)  # before the third, which came later
    s.complete(s.job_of(first))
    s.complete(s.job_of(third))
    assert set(s.answers()) == {first, second, third}
    assert s.dispatcher.stats.covered == s.dispatcher.stats.workers_lost == 1


def test_the_tiles_of_a_lost_collage_are_in_the_next(stage: Any) -> None:
    s = stage("collage", workers=5, trigger_quantile=0.5, backoff=0.01)
    s.learn()
    queries = [s.submit(), s.submit()]
    s.wait(1.06)
    lost = s.backups()[0]
    s.lose(lost.worker)
    assert not s.backups()  # a model that ends its workers pauses first
    s.wait(0.01)
    again = [start for start in s.backups() if start.source is Source.COLLAGE]
    assert [start.queries for start in again] == [tuple(queries)]


def test_a_held_answer_is_given_when_the_single_is_lost(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.1)
    s.learn()
    query = s.submit()
    s.wait(1.02)
    s.complete(s.backups()[0].job)
    assert s.answers() == {}
    s.lose(s.running[s.job_of(query)].worker)
    assert s.answers() == {query: Source.COLLAGE}


def test_a_silent_job_is_covered_and_its_worker_left_alone(stage: Any) -> None:
    s = stage("none", workers=2, silence=5.0, silence_least=0.5)
    s.learn()
    query = s.submit()
    silent = s.job_of(query)
    worker = s.running[silent].worker
    s.wait(6.0)
    again = [start for job, start in s.running.items() if job != silent]
    assert [(start.queries, start.source) for start in again] == [((query,), Source.SINGLE)]
    s.complete(again[0].job)
    assert s.answers() == {query: Source.SINGLE}
    assert {view.worker: view.state for view in s.dispatcher.view(s.now).workers}[worker] == "silent"
    other = s.submit()
    s.complete(s.job_of(other))
    s.complete(silent)  # it is back
    assert {view.state for view in s.dispatcher.view(s.now).workers} == {"idle"}


def test_a_worker_that_fails_pauses_longer_each_time(stage: Any) -> None:
    s = stage("none", workers=1, backoff=0.1, backoff_most=0.3, attempts=10)
    s.submit()
    pauses = []
    for _ in range(4):
        s.fail(next(iter(s.running)))
        assert not s.running
        failed = s.now
        while not s.running:
            s.pass_to(s.dispatcher.next_tick)
        pauses.append(round(s.now - failed, 9))
    assert pauses == [0.1, 0.2, 0.3, 0.3]


def test_a_query_fails_after_so_many_attempts(stage: Any) -> None:
    s = stage("none", workers=3, attempts=3)
    query = s.submit()
    for _ in range(3):
        assert s.rejections() == {}
        s.fail(s.job_of(query))
    assert s.rejections() == {query: "failed"}
    assert s.settled() == [query]


def test_a_backup_model_that_fails_costs_the_singles_no_worker(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.5, backoff=5.0)
    s.learn()
    query = s.submit()
    s.wait(1.06)
    s.fail(s.backups()[0].job)
    assert all(view.state in ("idle", "busy") for view in s.dispatcher.view(s.now).workers)
    assert not [start for start in s.backups() if start.source is Source.COLLAGE]
    s.complete(s.job_of(query))
    assert s.answers() == {query: Source.SINGLE}


def test_without_workers_queries_wait_for_a_while(stage: Any) -> None:
    s = stage("none", workers=0, grace=3.0)
    query = s.submit()
    s.wait(2.9)
    assert s.rejections() == {}
    s.wait(0.2)
    assert s.rejections() == {query: "no_workers"}
    other = s.submit()
    s.wait(1.0)
    s.do(s.dispatcher.worker("late", WorkerState.UP, frozenset({Role.SINGLE}), 1, s.now))
    s.complete(s.job_of(other))
    assert s.answers() == {other: Source.SINGLE}


def test_a_draining_worker_ends_what_it_runs(stage: Any) -> None:
    s = stage("none", workers=1)
    first, second = s.submit(), s.submit()
    s.do(s.dispatcher.worker("w0", WorkerState.DRAINING, frozenset({Role.SINGLE}), 1, s.now))
    s.complete(s.job_of(first))
    assert set(s.answers()) == {first}
    assert not s.running
    s.do(s.dispatcher.worker("w0", WorkerState.UP, frozenset({Role.SINGLE}), 1, s.now))
    s.complete(s.job_of(second))
    s.do(s.dispatcher.worker("w0", WorkerState.DRAINING, frozenset({Role.SINGLE}), 1, s.now))
    s.lose("w0")
    assert s.dispatcher.stats.workers_lost == 0  # it went because it was told to


def test_where_every_worker_is_silent_queries_do_not_wait_for_ever(stage: Any) -> None:
    s = stage("none", workers=1, silence=5.0, silence_least=0.5, grace=3.0)
    s.learn()
    query, other = s.submit(), s.submit()
    s.wait(20.0)
    assert s.rejections() == {query: "no_workers", other: "no_workers"}
    s.complete(next(iter(s.running)))  # it is back
    last = s.submit()
    s.complete(s.job_of(last))
    assert s.answers() == {last: Source.SINGLE}


def test_a_silent_job_teaches_no_more_than_that_it_was_silent(stage: Any) -> None:
    s = stage("hedge", workers=1, silence=5.0, silence_least=0.5)
    s.learn()
    before = s.dispatcher.stats.single_seconds
    s.submit()
    s.wait(3600.0)
    s.complete(next(iter(s.running)))
    assert s.dispatcher.stats.single_seconds - before < 6.0
    assert s.dispatcher.view(s.now).balance < 30.0


@pytest.mark.parametrize("how", ["lost", "silent"])
def test_a_backup_model_that_takes_workers_along_pauses(stage: Any, how: str) -> None:
    s = stage("collage", workers=6, trigger_quantile=0.5, backoff=50.0, backoff_most=60.0, silence=5.0, budget=4.0)
    s.learn()
    s.submit()
    s.wait(1.06)
    (collage,) = s.backups()
    assert not s.dispatcher.view(s.now).paused
    if how == "lost":
        s.lose(collage.worker)
    else:
        s.wait(6.0)
    s.submit()
    s.wait(2.0)
    assert s.dispatcher.view(s.now).paused
    assert s.dispatcher.stats.started[Source.COLLAGE] == 1
    for job in list(s.running):
        s.complete(job)
    s.wait(60.0)
    assert not s.dispatcher.view(s.now).paused
    s.submit()
    s.wait(1.06)
    assert s.dispatcher.stats.started[Source.COLLAGE] == 2
