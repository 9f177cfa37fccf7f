"""Parity and learned codes: one loss a group, and only once the singles of all others are there."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Outcome, Reject, Source

GIVES = {"accept": "first"}


@pytest.mark.parametrize("name", ["parity", "learned"])
def test_the_last_missing_answer_is_read_when_all_others_are_there(stage: Any, name: str) -> None:
    s = stage(name, workers=4, capacity=3, **GIVES)
    a, b, c = s.submit(), s.submit(), s.submit()
    (parity,) = s.backups()
    assert (parity.source, parity.queries) == (Source(name), (a, b, c))
    s.complete(s.job_of(a))
    s.complete(parity.job)
    assert s.decodes() == []
    assert s.settled() == []  # a's scores are still needed
    s.complete(s.job_of(c))
    assert s.decodes() == [(parity.job, 1)]
    s.decoded(parity.job, 1, Outcome(True, 0.7))
    assert s.answers() == {a: Source.SINGLE, c: Source.SINGLE, b: Source(name)}
    assert sorted(s.settled()) == [a, b, c]
    assert s.cancelled() == [s.job_of(b)]


def test_the_parity_may_be_the_last_to_come(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(s.job_of(b))
    assert s.settled() == []
    s.complete(parity.job)
    assert s.decodes() == [(parity.job, 0)]
    s.decoded(parity.job, 0)
    assert s.answers() == {b: Source.SINGLE, a: Source.PARITY}


def test_a_part_of_a_group_starts_no_parity(stage: Any) -> None:
    s = stage("parity", workers=5, capacity=3)
    s.submit(), s.submit()
    s.submit(key="other"), s.submit(accept_degraded=False)
    assert s.backups() == []
    s.wait(1000.0)
    assert s.backups() == []


def test_a_parity_is_let_go_when_all_are_answered(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(s.job_of(a))
    s.complete(s.job_of(b))
    assert sorted(s.settled()) == [a, b]
    assert s.cancelled() == [parity.job]
    s.complete(parity.job)
    assert s.decodes() == []


def test_two_that_will_never_be_answered_end_the_hope_of_a_third(stage: Any) -> None:
    s = stage("parity", workers=4, capacity=3, **GIVES)
    a, b, c = s.submit(), s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(parity.job)
    single = s.job_of(a)
    s.do(s.dispatcher.cancelled(a, s.now))
    assert s.settled() == []  # its single runs on, and may still help b or c
    s.free(single)
    assert s.settled() == [a]  # nobody can be helped any more
    s.complete(s.job_of(b))
    assert s.settled() == [a, b]
    assert s.decodes() == []
    s.complete(s.job_of(c))
    assert s.answers() == {b: Source.SINGLE, c: Source.SINGLE}


def test_a_late_single_of_a_client_that_left_still_helps_the_others(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(parity.job)
    s.do(s.dispatcher.cancelled(a, s.now))
    s.complete(s.job_of(a))
    assert s.decodes() == [(parity.job, 1)]
    s.decoded(parity.job, 1)
    assert s.answers() == {b: Source.PARITY}


def test_what_cannot_be_read_waits_for_its_single(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(s.job_of(a))
    s.complete(parity.job)
    s.decoded(parity.job, 1, Outcome(False, 0.0))
    assert s.answers() == {a: Source.SINGLE}
    assert s.dispatcher.stats.unknown == 1
    assert s.settled() == [a]
    s.complete(s.job_of(b))
    assert s.answers() == {a: Source.SINGLE, b: Source.SINGLE}


def test_a_query_whose_attempts_are_spent_is_kept_for_the_parity(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, attempts=1, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.fail(s.job_of(b))
    s.complete(parity.job)
    assert s.rejections() == {}
    s.complete(s.job_of(a))
    s.decoded(parity.job, 1)
    assert s.answers() == {a: Source.SINGLE, b: Source.PARITY}


def test_with_the_parity_unreadable_such_a_query_fails(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, attempts=1, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.fail(s.job_of(b))
    s.complete(parity.job)
    s.fail(s.job_of(a))
    assert s.rejections() == {a: "failed", b: "failed"}
    assert sorted(s.settled()) == [a, b]


def test_a_lost_parity_leaves_its_queries_to_others(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(s.job_of(a))
    assert s.settled() == []
    s.lose(parity.worker)
    assert s.settled() == [a]
    s.complete(s.job_of(b))
    assert sorted(s.settled()) == [a, b]
    assert not any(isinstance(action, Reject) for action in s.said)


def test_its_answer_is_held_while_the_single_is_preferred(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, accept="patience")
    s.learn()
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(parity.job)
    s.wait(0.5)
    s.complete(s.job_of(a))
    s.decoded(parity.job, 1)
    assert s.answers() == {a: Source.SINGLE}
    s.wait(1.0)  # a single's usual time is over
    assert s.answers() == {a: Source.SINGLE, b: Source.PARITY}


def test_a_control_is_compared_with_what_the_parity_would_have_said(stage: Any) -> None:
    s = stage("parity", workers=3, capacity=2, settings={"control_share": 1.0}, **GIVES)
    a, b = s.submit(), s.submit()
    (parity,) = s.backups()
    s.complete(s.job_of(a))
    s.complete(s.job_of(b))
    assert s.settled() == []
    s.complete(parity.job)
    assert sorted(s.decodes()) == [(parity.job, 0), (parity.job, 1)]
    for job, position in s.decodes():
        s.decoded(job, position)
    assert sorted(s.settled()) == [a, b]
    assert s.answers() == {a: Source.SINGLE, b: Source.SINGLE}
