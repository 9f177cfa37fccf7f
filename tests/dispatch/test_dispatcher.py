"""What each part of a policy does, one situation at a time."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Outcome, Role, Source, WorkerState

UNKNOWN = Outcome(False, 0.0)
KNOWN = Outcome(True, 0.9)


def test_singles_are_served_first_come_first_served(stage: Any) -> None:
    s = stage("none", workers=2)
    queries = [s.submit() for _ in range(5)]
    assert [start.queries for start in s.running.values()] == [(queries[0],), (queries[1],)]
    s.complete(s.job_of(queries[1]))
    assert s.job_of(queries[2])
    assert s.answers() == {queries[1]: Source.SINGLE}
    assert s.settled() == [queries[1]]
    assert s.dispatcher.view(s.now).waiting == 2


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


def test_nothing_is_late_before_enough_was_seen(stage: Any) -> None:
    s = stage("hedge", warmup=20)
    s.learn(count=19)
    s.submit()
    s.wait(15.0)
    assert not s.backups()


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
