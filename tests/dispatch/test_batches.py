"""Singles that wait may share a job, up to max_batch."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Dispatcher, Outcome, Role, Source, WorkerState, get_policy

KNOWN, UNKNOWN = Outcome(True, 0.9), Outcome(False, 0.0)


def queries_of_jobs(s: Any) -> list[tuple[int, ...]]:
    return [start.queries for start in s.running.values()]


def test_those_that_wait_share_the_next_job(stage: Any) -> None:
    s = stage("none", workers=1, settings={"max_batch": 4})
    first, *others = (s.submit() for _ in range(7))
    assert queries_of_jobs(s) == [(first,)]  # nobody waits for company
    s.complete(s.job_of(first))
    assert s.running[s.job_of(others[0])].queries == tuple(others[:4])
    s.complete(s.job_of(others[0]))
    assert s.running[s.job_of(others[4])].queries == tuple(others[4:])
    s.complete(s.job_of(others[4]))
    assert s.answers() == dict.fromkeys((first, *others), Source.SINGLE)
    stats = s.dispatcher.stats
    assert (stats.started[Source.SINGLE], stats.singles_ended) == (3, 7)


def test_idle_workers_are_used_before_calls_are_filled(stage: Any) -> None:
    s = stage("none", workers=0, settings={"max_batch": 8})
    waiting = [s.submit() for _ in range(5)]
    s.do(s.dispatcher.worker("a", WorkerState.UP, frozenset({Role.SINGLE}), 3, s.now))
    assert queries_of_jobs(s) == [tuple(waiting[:2]), tuple(waiting[2:4]), (waiting[4],)]


def test_another_tenants_query_keeps_its_place(stage: Any) -> None:
    s = stage("none", workers=1, settings={"max_batch": 4})
    first = s.submit()
    ours, theirs, ours_too = s.submit(key="a"), s.submit(key="b"), s.submit(key="a")
    s.complete(s.job_of(first))
    assert s.running[s.job_of(ours)].queries == (ours, ours_too)
    s.complete(s.job_of(ours))
    assert s.running[s.job_of(theirs)].queries == (theirs,)


def test_after_a_failure_each_goes_alone(stage: Any) -> None:
    """So that one image which breaks the call does not break it for the others again."""
    s = stage("none", workers=1, settings={"max_batch": 4}, backoff=0.01)
    first, *others = (s.submit() for _ in range(4))
    s.complete(s.job_of(first))
    s.fail(s.job_of(others[0]))
    for _ in others:
        s.wait(0.05)
        (running,) = s.running.values()
        assert len(running.queries) == 1
        s.complete(running.job)
    assert s.answers() == dict.fromkeys((first, *others), Source.SINGLE)


def test_each_has_an_outcome_of_its_own(stage: Any) -> None:
    s = stage("none", workers=1, settings={"max_batch": 4})
    first, good, gone, bad = (s.submit() for _ in range(4))
    s.complete(s.job_of(first))
    job = s.job_of(good)
    s.do(s.dispatcher.cancelled(gone, s.now))
    s.complete(job, KNOWN, KNOWN, UNKNOWN)
    assert s.answers() == {first: Source.SINGLE, good: Source.SINGLE}
    assert s.running[s.job_of(bad)].queries == (bad,)  # sent again
    assert s.dispatcher.stats.late_answers == 1


def test_a_backup_covers_a_late_job_of_several(stage: Any) -> None:
    s = stage("collage", workers=2, trigger_quantile=0.5, accept="first", settings={"max_batch": 2})
    s.learn()
    one, two, three, four = (s.submit() for _ in range(4))
    s.complete(s.job_of(one))
    late = s.job_of(three)
    assert s.running[late].queries == (three, four)
    s.complete(s.job_of(two))
    s.wait(2.0)
    (collage,) = s.backups()
    assert collage.queries == (three, four)
    s.complete(collage.job, KNOWN, UNKNOWN)
    assert s.answers() == {one: Source.SINGLE, two: Source.SINGLE, three: Source.COLLAGE}
    assert s.cancelled() == []  # the other still needs it
    s.complete(late)
    assert s.answers()[four] is Source.SINGLE


def test_a_size_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="max_batch must be at least 1"):
        Dispatcher(get_policy("none"), max_batch=0)
