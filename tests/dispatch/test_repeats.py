"""Queries of one image in flight: who shares whose jobs, and what each of them gets."""

from __future__ import annotations

from typing import Any

from collage.dispatch import Answer, Source

MakeStage = Any


def owners(stage: Any) -> dict[int, int | None]:
    """By query: whose output its answer was, if not its own."""
    return {action.query: action.of for action in stage.said if isinstance(action, Answer)}


def test_queries_of_one_image_share_one_job(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    first, second, other = s.submit(image="cat"), s.submit(image="cat"), s.submit(image="dog")
    assert [start.queries for start in s.running.values()] == [(first,), (other,)]
    s.complete(s.job_of(first))
    assert owners(s) == {first: None, second: first}
    assert s.settled() == [second, first]  # the one whose output it is comes last
    assert s.dispatcher.stats.shared == 1
    third = s.submit(image="cat")  # nothing is kept of what has been answered
    assert s.job_of(third)


def test_it_is_off_unless_the_policy_says_so_and_needs_a_digest(stage: MakeStage) -> None:
    for changes, image in (({}, "cat"), ({"share_repeats": True}, None)):
        s = stage("none", **changes)
        s.submit(image=image)
        s.submit(image=image)
        assert len(s.running) == 2


def test_only_queries_of_one_key_that_want_the_same_share(stage: MakeStage) -> None:
    s = stage("collage", share_repeats=True)
    for key, degraded in (("a", True), ("b", True), ("a", False)):
        s.submit(key=key, accept_degraded=degraded, image="cat")
    assert len(s.running) == 3


def test_who_has_had_enough_leaves_alone(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    first, second, third = s.submit(within=1.0, image="cat"), s.submit(image="cat"), s.submit(within=2.0, image="cat")
    s.wait(1.5)
    assert s.rejections() == {first: "deadline"}
    assert not s.cancelled()
    assert not s.settled()  # its output is still to come
    s.wait(1.0)
    assert s.rejections() == {first: "deadline", third: "deadline"}
    s.complete(s.job_of(first))
    assert owners(s) == {second: first}
    assert s.settled() == [third, second, first]


def test_a_job_is_cancelled_when_nobody_waits_for_it_any_more(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    first, second = s.submit(image="cat"), s.submit(image="cat")
    job = s.job_of(first)
    s.do(s.dispatcher.cancelled(first, s.now))
    s.do(s.dispatcher.cancelled(first, s.now))  # again, which is nothing
    assert not s.cancelled()
    s.do(s.dispatcher.cancelled(second, s.now))
    assert s.cancelled() == [job]
    assert s.rejections() == {first: "cancelled", second: "cancelled"}
    assert s.settled() == [second, first]
    assert s.dispatcher.view(s.now).in_flight == 0


def test_a_lost_single_is_covered_for_all(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    first, second = s.submit(image="cat"), s.submit(image="cat")
    s.lose(s.running[s.job_of(first)].worker)
    s.complete(s.job_of(first))
    assert owners(s) == {first: None, second: first}


def test_a_late_one_is_not_followed_but_gets_what_a_later_one_gets(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    s.learn()
    late, follower = s.submit(image="cat"), s.submit(image="cat")
    s.wait(10.0)
    fresh = s.submit(image="cat")
    assert s.job_of(fresh) != s.job_of(late)
    after = s.submit(image="cat")
    straggler = s.job_of(late)
    s.complete(s.job_of(fresh))
    assert owners(s) == {fresh: None, after: fresh, late: fresh, follower: fresh}
    assert s.settled()[-1] == late or s.settled().index(fresh) > s.settled().index(after)
    assert s.cancelled() == [straggler]


def test_an_earlier_single_answers_the_later_one_and_a_backup_does_not(stage: MakeStage) -> None:
    for source, answered in ((Source.SINGLE, 2), (Source.CHEAP, 1)):
        s = stage("cheap", share_repeats=True, accept="first")
        s.learn()
        late = s.submit(image="cat")
        s.wait(10.0)
        fresh = s.submit(image="cat")
        s.complete(s.job_of(late, source))
        assert late in s.answers()
        assert len(s.answers()) == answered
        if source is Source.CHEAP:
            s.complete(s.job_of(fresh))  # its own single
            assert owners(s) == {late: None, fresh: None}


def test_a_near_deadline_of_a_follower_hurries_the_backup_and_takes_it_alone(stage: MakeStage) -> None:
    s = stage("cheap", share_repeats=True, workers=6)
    s.learn()
    first = s.submit(image="cat")
    assert not s.backups()
    second = s.submit(within=0.5, image="cat")  # less than two calls
    (backup,) = s.backups()
    assert backup.queries == (first,)
    s.complete(backup.job)
    assert not s.answers()  # patience has not ended
    s.wait(0.6)
    assert s.answers() == {second: Source.CHEAP}
    s.complete(s.job_of(first))
    assert s.answers() == {second: Source.CHEAP, first: Source.SINGLE}
    assert not s.rejections()


def test_a_deadline_that_has_passed_shares_nothing(stage: MakeStage) -> None:
    s = stage("none", share_repeats=True)
    s.submit(image="cat")
    second = s.submit(within=0.0, image="cat")
    assert s.rejections() == {second: "deadline"}
