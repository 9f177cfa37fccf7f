"""Backups, one situation at a time: when one starts, for whom, and when its answer counts."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Outcome, Source

from .conftest import UNKNOWN


def test_a_collage_stands_in_for_a_straggler_after_patience(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.5, patience_quantile=0.9)
    s.learn()
    before = s.dispatcher.stats.late_answers
    late, other = s.submit(), s.submit()
    s.wait(1.0)
    assert not s.backups()
    s.wait(0.06)  # the middle of what singles take
    (collage,) = s.backups()
    assert collage.source is Source.COLLAGE
    assert collage.queries == (late, other)
    s.complete(s.job_of(other))
    s.complete(collage.job)
    assert s.answers() == {other: Source.SINGLE}  # the other's single is preferred, and patience is not over
    s.wait(0.5)
    assert s.answers() == {other: Source.SINGLE, late: Source.COLLAGE}
    assert s.cancelled() == [s.job_of(late)]
    s.complete(s.job_of(late))  # cancelling did nothing: it comes to its end, and is counted
    assert s.dispatcher.stats.late_answers == before + 2  # with the other's tile
    assert s.dispatcher.stats.backups_won == 1


def test_a_late_single_that_comes_before_patience_ends_answers(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.1, patience_quantile=0.9)
    s.learn()
    query = s.submit()
    s.wait(1.05)
    s.complete(s.backups()[0].job)
    assert s.answers() == {}
    s.complete(s.job_of(query))
    assert s.answers() == {query: Source.SINGLE}


def test_a_confident_backup_need_not_wait(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.1, accept="confident", confidence=0.8)
    s.learn()
    sure, unsure = s.submit(), s.submit()
    s.wait(1.05)
    s.complete(s.backups()[0].job, Outcome(True, 0.85), Outcome(True, 0.6))
    assert s.answers() == {sure: Source.COLLAGE}
    s.wait(1.0)
    assert s.answers() == {sure: Source.COLLAGE, unsure: Source.COLLAGE}


def test_a_single_is_preferred_for_longer_to_an_unsure_backup(stage: Any) -> None:
    s = stage(
        "collage", trigger_quantile=0.1, patience_quantile=0.5, unsure_quantile=0.95, unsure_below=0.8, warmup=100
    )
    s.learn(count=90)
    s.learn(seconds=1.5, count=10)
    sure, unsure, rescued = s.submit(), s.submit(), s.submit()
    s.wait(1.1)  # patience has ended, that with unsure answers has not
    s.complete(s.backups()[0].job, Outcome(True, 0.8), Outcome(True, 0.79), Outcome(True, 0.1))
    assert s.answers() == {sure: Source.COLLAGE}
    s.wait(0.3)
    s.complete(s.job_of(rescued))
    assert s.answers() == {sure: Source.COLLAGE, rescued: Source.SINGLE}
    s.wait(0.3)
    assert s.answers() == {sure: Source.COLLAGE, rescued: Source.SINGLE, unsure: Source.COLLAGE}


def test_an_unsure_backup_answers_when_no_single_is_left(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.1, patience_quantile=0.5, unsure_quantile=0.95, attempts=1)
    s.learn()
    query = s.submit()
    s.wait(1.05)
    s.complete(s.backups()[0].job, Outcome(True, 0.1))
    assert s.answers() == {}
    s.fail(s.job_of(query))
    assert s.answers() == {query: Source.COLLAGE}


def test_an_unsure_backup_never_waits_for_less_than_a_sure_one(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.1, patience_quantile=0.95, unsure_quantile=0.1)
    s.learn(count=90)
    s.learn(seconds=1.5, count=10)
    query = s.submit()
    s.wait(1.3)
    s.complete(s.backups()[0].job, Outcome(True, 0.1))
    assert s.answers() == {}
    s.wait(0.3)
    assert s.answers() == {query: Source.COLLAGE}


def test_patience_does_not_learn_to_wait_for_stragglers(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.5, patience_quantile=0.95, warmup=100)
    s.learn(count=90)
    s.learn(seconds=9.0, count=10)
    query = s.submit()
    s.wait(1.2)
    s.complete(s.backups()[0].job)
    assert s.answers() == {}
    s.wait(1.0)
    assert s.answers() == {query: Source.COLLAGE}


def test_answered_queries_leave_their_group_and_no_group_starts_for_nothing(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.9)
    s.learn()
    first, second = s.submit(), s.submit()
    s.wait(1.0)
    s.complete(s.job_of(first))
    s.wait(0.2)
    assert [start.queries for start in s.backups()] == [(second,)]
    sent = s.dispatcher.stats.backups_sent
    s.complete(s.job_of(second))
    s.wait(9.0)
    assert s.dispatcher.stats.backups_sent == sent


def test_a_full_group_does_not_wait(stage: Any) -> None:
    s = stage("collage", workers=6, capacity=4, trigger_quantile=0.9)
    s.learn()
    queries = [s.submit() for _ in range(4)]
    assert [start.queries for start in s.backups()] == [tuple(queries)]


@pytest.mark.parametrize(("overtake", "age"), [(False, 1.2), (True, 1.06)])
def test_backups_wait_behind_singles(stage: Any, overtake: bool, age: float) -> None:
    s = stage("collage", workers=2, trigger_quantile=0.5, overtake=overtake)
    s.learn()
    first, second, third = s.submit(), s.submit(), s.submit()
    s.wait(age)
    assert not s.backups()  # no worker is idle
    s.complete(s.job_of(second))
    assert s.job_of(third)
    assert not s.backups()
    s.complete(s.job_of(third))
    assert [start.queries for start in s.backups()] == [(first,)]


def test_backups_overtake_singles_once_patience_has_ended(stage: Any) -> None:
    s = stage("collage", workers=2, trigger_quantile=0.5)
    s.learn()
    first, second = s.submit(), s.submit()
    s.wait(0.5)
    third = s.submit()
    s.wait(0.7)
    s.complete(s.job_of(second))
    assert [start.queries for start in s.backups()] == [(first,)]
    s.complete(s.backups()[0].job)
    assert s.answers()[first] is Source.COLLAGE
    assert s.job_of(third)


def test_backups_overtake_nobody_who_has_waited_as_long(stage: Any) -> None:
    s = stage("collage", workers=2, trigger_quantile=0.5)
    s.learn()
    _, second, third = s.submit(), s.submit(), s.submit()
    s.wait(1.2)
    s.complete(s.job_of(second))
    assert not s.backups()
    assert s.job_of(third)


def test_queries_of_different_keys_share_no_collage(stage: Any) -> None:
    s = stage("collage", workers=8, trigger_quantile=0.5)
    s.learn()
    a, b, c = s.submit("one"), s.submit("other"), s.submit("one")
    s.wait(1.2)
    assert sorted(start.queries for start in s.backups()) == [(a, c), (b,)]


def test_who_refuses_degraded_answers_gets_a_second_single(stage: Any) -> None:
    s = stage("collage", workers=8, trigger_quantile=0.5)
    s.learn()
    query = s.submit(accept_degraded=False)
    s.wait(1.2)
    (backup,) = s.backups()
    assert (backup.source, backup.queries) == (Source.REPLICA, (query,))
    s.complete(backup.job)
    assert s.answers() == {query: Source.REPLICA}


def test_a_late_collage_is_followed_by_a_second_single(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.5)
    s.learn()
    query = s.submit()
    s.wait(1.2)
    assert [start.source for start in s.backups()] == [Source.COLLAGE]
    s.wait(1.2)
    assert sorted(start.source for start in s.backups()) == [Source.COLLAGE, Source.REPLICA]
    s.complete(s.job_of(query, Source.REPLICA))
    assert s.answers() == {query: Source.REPLICA}
    assert s.dispatcher.stats.resent == 1
    s.wait(60.0)
    assert s.dispatcher.stats.resent == 1


def test_an_unknown_tile_is_followed_by_a_second_single_once_its_query_is_late(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.5)
    s.learn()
    query = s.submit()
    s.wait(1.06)
    s.complete(s.backups()[0].job, UNKNOWN)
    assert not s.backups()
    s.wait(0.1)
    assert [start.source for start in s.backups()] == [Source.REPLICA]
    assert s.dispatcher.stats.unknown == 1
    s.complete(s.job_of(query))
    assert s.answers() == {query: Source.SINGLE}


def test_hedging_waits_for_the_delay_that_its_budget_implies(stage: Any) -> None:
    s = stage("hedge", budget=0.2)
    s.learn()
    query = s.submit()
    s.wait(1.07)
    assert not s.backups()
    s.wait(0.02)  # the 80th of a hundred singles took 1.08 s
    (backup,) = s.backups()
    assert (backup.source, backup.queries) == (Source.REPLICA, (query,))
    assert backup.worker != s.running[s.job_of(query)].worker
    s.complete(backup.job)
    assert s.answers() == {query: Source.REPLICA}
    assert not Source.REPLICA.degraded


def test_hedging_stops_where_the_budget_ends(stage: Any) -> None:
    s = stage("hedge", workers=40, budget=0.05, burst=2.0)
    s.learn()
    for _ in range(10):
        s.submit()
    s.wait(5.0)
    assert len(s.backups()) == 2
    assert s.dispatcher.stats.budget_exhausted >= 1


def test_replication_starts_both_at_once_in_one_queue(stage: Any) -> None:
    s = stage("replicate", workers=3)
    first, second = s.submit(), s.submit()
    assert [start.queries for start in s.running.values()] == [(first,), (first,), (second,)]
    s.complete(s.job_of(first))
    assert s.job_of(second, Source.REPLICA)
    s.complete(s.job_of(first, Source.REPLICA))
    assert s.answers() == {first: Source.SINGLE}


def test_a_cheap_single_covers_late_queries_alone(stage: Any) -> None:
    s = stage("cheap", budget=0.5)
    s.learn()
    queries = [s.submit(), s.submit()]
    s.wait(1.2)
    assert [(start.source, start.queries) for start in s.backups()] == [(Source.CHEAP, (q,)) for q in queries]
    s.complete(s.backups()[0].job)
    assert s.answers() == {queries[0]: Source.CHEAP}


def test_a_dedicated_worker_runs_nothing_but_collages(stage: Any) -> None:
    s = stage("collage-dedicated", workers=3)
    s.learn()
    queries = [s.submit() for _ in range(3)]
    s.wait(1.2)
    assert {start.worker: start.source for start in s.running.values()} == {
        "w0": Source.SINGLE,
        "w1": Source.SINGLE,
        "w2": Source.COLLAGE,
    }
    assert s.dispatcher.view(s.now).waiting == 1
    assert s.backups()[0].queries == tuple(queries[:2])


def test_nothing_is_late_before_enough_was_seen(stage: Any) -> None:
    s = stage("hedge", warmup=20)
    s.learn(count=19)
    s.submit()
    s.wait(15.0)
    assert not s.backups()


def test_without_a_worker_for_collages_late_singles_are_resent(stage: Any) -> None:
    s = stage("collage-dedicated", workers=4)
    s.learn()
    s.lose("w3")
    query = s.submit()
    s.wait(1.2)
    assert [(start.source, start.queries) for start in s.backups()] == [(Source.REPLICA, (query,))]


def test_the_nearest_deadline_of_a_group_counts(stage: Any) -> None:
    s = stage("collage", trigger_quantile=0.9)
    s.learn()
    s.submit()
    hurried = s.submit(within=2.2)  # a collage takes a little more than a second
    s.wait(0.2)
    (collage,) = s.backups()
    assert hurried in collage.queries
    s.complete(collage.job)
    s.wait(2.1)
    assert s.answers()[hurried] is Source.COLLAGE


def test_the_oldest_query_of_any_key_comes_first(stage: Any) -> None:
    s = stage("collage", workers=5, trigger_quantile=0.5, overtake=False)
    s.learn()
    busy = [s.submit("busy") for _ in range(4)]
    s.wait(0.01)
    quiet = s.submit("quiet")
    s.wait(1.2)
    assert not s.backups()
    s.complete(s.job_of(busy[0]))
    assert s.backups()[0].queries == tuple(busy[1:])
    s.wait(0.01)
    late = s.submit("busy")  # takes the next free worker
    s.complete(s.job_of(busy[1]))
    assert s.job_of(late)
    s.complete(s.job_of(busy[2]))
    assert s.backups()[-1].queries == (quiet,)


def test_nothing_is_free_before_anything_is_known(stage: Any) -> None:
    s = stage("collage", workers=12, capacity=4)
    for _ in range(8):
        s.submit()
    assert not s.backups()
