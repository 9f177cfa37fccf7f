"""Which code, which size and from which age on: sizes, lone queries, `auto`, and predicted speed."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import PRESETS, Dispatcher, Role, Source, WorkerState, get_policy
from collage.dispatch._speed import Speeds
from collage.dispatch._workers import Worker, WorkerPool
from collage.exceptions import SettingsError

SINGLE = frozenset({Role.SINGLE})


def teach(s: Any, seconds: float, rounds: int, gap: float, backup: float) -> None:
    """Queries `gap` apart: singles take up to a half more or less than `seconds`, every degraded backup `backup`."""
    ends: list[tuple[float, int]] = []
    known: set[int] = set()

    def note() -> None:
        for job, start in s.running.items():
            if job not in known:
                known.add(job)
                ends.append((s.now + (backup if start.source.degraded else seconds * (0.5 + job * 7 % 11 / 10)), job))

    def run(until: float) -> None:
        while ends and min(ends)[0] <= until:
            end = min(ends)
            ends.remove(end)
            s.pass_to(end[0])
            note()
            s.complete(end[1])
            note()
        s.pass_to(until)
        note()

    for _ in range(rounds):
        s.submit()
        note()
        run(s.now + gap)
    run(s.now + 100 * seconds)


def test_a_backup_is_of_the_smallest_size_that_suffices(stage: Any) -> None:
    s = stage("collage", workers=8, capacity=(4, 9), trigger_quantile=0.5)
    s.learn()
    late = [s.submit() for _ in range(3)]
    s.wait(1.1)
    (backup,) = s.backups()
    assert (backup.queries, backup.capacity) == (tuple(late), 4)


def test_more_than_the_largest_size_holds_wait_for_another(stage: Any) -> None:
    s = stage("collage", workers=9, capacity=(2, 4), trigger_quantile=0.5, burst=100)
    s.learn()
    late = [s.submit() for _ in range(5)]
    s.wait(1.1)
    first, second = s.backups()
    assert (first.queries, first.capacity) == (tuple(late[:4]), 4)
    assert (second.queries, second.capacity) == (tuple(late[4:]), 2)


@pytest.mark.parametrize("alone", [Source.REPLICA, Source.CHEAP])
def test_a_late_query_alone_gets_what_the_policy_names(stage: Any, alone: Source) -> None:
    s = stage("collage", workers=6, capacity=(4, 9), trigger_quantile=0.5, alone=alone)
    s.learn()
    s.submit()
    s.wait(1.1)
    assert [(backup.source, backup.capacity) for backup in s.backups()] == [(alone, 1)]
    s.submit(), s.submit()
    s.wait(1.1)
    assert Source.COLLAGE in {backup.source for backup in s.backups()}


def test_one_that_refuses_degraded_answers_gets_a_replica_where_the_policy_has_one(stage: Any) -> None:
    s = stage("collage", workers=6, trigger_quantile=0.5, alone=Source.REPLICA)
    s.learn()
    refuses, takes = s.submit(accept_degraded=False), [s.submit(), s.submit()]
    s.wait(1.1)
    assert {backup.queries: backup.source for backup in s.backups()} == {
        (refuses,): Source.REPLICA,
        tuple(takes): Source.COLLAGE,
    }


def test_auto_takes_what_is_there_first(stage: Any) -> None:
    """With cheap calls a tenth as long as singles, alone in flight: cheap it is, just before patience ends."""
    s = stage("auto", workers=6, capacity=9)
    teach(s, 1.0, 150, gap=0.7, backup=0.1)
    assert s.dispatcher._plan.any.source is Source.CHEAP
    age = s.dispatcher._plan.any.age
    assert 1.0 < age < 1.5
    s.submit()
    s.wait(age - 0.01)
    assert s.backups() == []
    s.wait(0.02)
    assert [backup.source for backup in s.backups()] == [Source.CHEAP]


def test_auto_makes_no_backups_where_nobody_is_ever_idle(stage: Any) -> None:
    s = stage("auto", workers=2, capacity=9)
    teach(s, 1.0, 1000, gap=0.45, backup=1.0)
    before = s.dispatcher.stats.backups_sent
    teach(s, 1.0, 50, gap=0.45, backup=1.0)
    assert s.dispatcher.stats.backups_sent == before


def test_auto_uses_only_the_models_that_workers_have(stage: Any) -> None:
    s = stage("auto", workers=0, capacity=9)
    for name in "abcdef":
        s.do(s.dispatcher.worker(name, WorkerState.UP, SINGLE, 1, 0.0))
    teach(s, 1.0, 400, gap=0.7, backup=0.1)
    assert set(s.dispatcher.stats.started) == {Source.SINGLE, Source.REPLICA}
    s.submit()
    s.wait(1.6)
    assert [backup.source for backup in s.backups()] == [Source.REPLICA]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("collage", {"among": ("cheap",)}, "among: a choice of codes needs"),
        ("auto", {"among": ("batch",)}, "among: only one code"),
        ("auto", {"among": ("parity",)}, "among: only codes whose answers can be read alone"),
        ("hedge", {"alone": "cheap"}, "alone: only a replica or a cheap single"),
        ("collage", {"alone": "batch"}, "alone: only a replica or a cheap single"),
        ("parity", {"trigger": "in_time"}, "trigger: a joint backup"),
    ],
)
def test_parts_that_do_not_fit_are_refused(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        get_policy(name, **changes)


@pytest.mark.parametrize("capacity", [0, (), (0, 4)])
def test_a_capacity_below_one_is_refused(capacity: Any) -> None:
    with pytest.raises(ValueError, match="capacity: one or more sizes"):
        Dispatcher(PRESETS["collage"], capacity=capacity)


def test_slowness_that_does_not_last_predicts_nothing() -> None:
    speeds, worker = Speeds(), Worker("w", SINGLE, 1)
    for number in range(400):
        speeds.observe(worker, 5.0 if number % 20 == 0 else 1.0, 1.0, float(number))
    assert speeds.factor < 0.05
    assert not speeds.observe(worker, 5.0, 1.0, 400.0)


def test_slowness_that_lasts_is_predicted_and_tried_again() -> None:
    speeds, worker = Speeds(), Worker("w", SINGLE, 1)
    for number in range(400):
        speeds.observe(worker, 5.0 if number % 100 < 20 else 1.0, 1.0, float(number))
    assert 0.9 < speeds.factor < 1
    assert speeds.observe(worker, 5.0, 1.0, 400.0)
    assert 2 < worker.slowness < 5
    assert 401 < worker.slow_until < 450
    assert speeds.observe(worker, 1.0, 1.0, 405.0)  # it was slow, and is not any more
    assert worker.slow_until == 405.0


def test_a_slow_worker_is_taken_only_where_all_are() -> None:
    pool = WorkerPool()
    slow, usual = pool.join("a", SINGLE, 1, 0.0), pool.join("b", SINGLE, 1, 0.0)
    slow.slow_until = 10.0
    pool.update(slow, 0.0)
    assert pool.find(Role.SINGLE) is usual
    usual.jobs[1] = 0.0
    pool.update(usual, 0.0)
    assert pool.find(Role.SINGLE) is None  # one that is not slow will be free soon
    assert pool.find_slow(Role.SINGLE) is slow
    pool.leave("b")
    assert pool.find(Role.SINGLE) is slow
    pool.update(slow, 10.0)
    assert pool.steady == 1


def test_a_single_waits_for_a_usual_worker_unless_the_queue_is_long(stage: Any) -> None:
    s = stage("none", workers=2, placement="speed")
    s.learn()
    slow = s.dispatcher._ledger.pool["w0"]
    slow.slow_until, slow.slowness = s.now + 100.0, 4.0
    s.dispatcher._ledger.pool.update(slow, s.now)
    first = s.submit()
    assert s.running[s.job_of(first)].worker == "w1"
    s.submit(), s.submit()
    assert len(s.running) == 1
    s.submit()  # three wait: the last would do so for longer than the slow worker takes
    assert [start.worker for start in s.running.values()] == ["w1", "w0"]
