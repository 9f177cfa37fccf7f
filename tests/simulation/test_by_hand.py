"""Queues, hedges, cancellation and everything that may go wrong with a worker, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from collage.dispatch import Source
from collage.simulation._arrivals import Rounds
from collage.simulation._speed import Phases

LEARNT = {"warmup": 20, "budget": 0.2}


def test_a_queue(play: Any) -> None:
    played = play("none", [0.0, 1.0, 1.5, 10.0], [[2.0]])
    assert played.latencies == [2.0, 3.0, 4.5, 2.0]
    assert played.fleet.computed(played.simulator.now) == 8.0


def test_a_hedge(play: Any) -> None:
    # Twenty jobs of 1 s are learnt from, ten on each of two workers; then the first takes 9 s.
    arrivals = [*map(float, range(20)), 30.0]
    played = play("hedge", arrivals, [[*[1.0] * 10, 9.0], [1.0]], changes=LEARNT)
    latency, source = played.answers[20]
    # Late at 1.0 s (as the sketch knows it), then a second single of 1 s on the other worker.
    assert source is Source.REPLICA
    assert latency == pytest.approx(2.0, rel=0.011)


def test_an_oracle_hedges_at_the_start(play: Any) -> None:
    # Three medians of the scenario's own distribution, 1 s, are 3 s: the single of 9 s straggles, that of 2.9 s not.
    own = {"times": {"kind": "shifted-exponential", "shift": 1.0}, "oracle": True}
    played = play("hedge", [0.0, 20.0, 40.0], [[2.9, 9.0], [1.0]], changes=LEARNT, scenario=own)
    assert played.answers == {0: (2.9, Source.SINGLE), 1: (1.0, Source.SINGLE), 2: (1.0, Source.REPLICA)}
    assert [when for when, *_ in played.starts] == [0.0, 20.0, 40.0, 40.0]


def test_a_round_begins_when_the_last_one_is_over(play: Any) -> None:
    # Two workers, three queries: 1, 1, 2 then (the second worker takes 5 s) 1, 5, 2: rounds of 2 and 5 s.
    played = play("none", Rounds(3), [[1.0], [1.0, 5.0, 1.0]], queries=6)
    when = [at for _, (at, _) in sorted(played.answers.items())]
    assert when == [1.0, 1.0, 2.0, 7.0, 3.0, 4.0]
    assert played.tally.rounds.build().total == 7.0


def test_a_gateway_serves_one_query_at_a_time(play: Any) -> None:
    # In at 0, 0 and 5; told at 0.5, 1.0 and 5.5; each then takes 1 s on a worker of its own.
    played = play("none", [0.0, 0.0, 5.0], [[1.0]] * 3, gateway=0.5)
    assert [when for when, *_ in played.starts] == [0.5, 1.0, 5.5]
    assert played.latencies == [1.5, 2.0, 1.5]


def test_a_network_delays_both_ways_and_takes_the_slot(play: Any) -> None:
    # 0.2 there, 1 s of work, 0.2 back; the slot is free at 1.4.
    played = play("none", [0.0, 0.1], [[1.0]], network={"delay": 0.2})
    assert played.latencies == pytest.approx([1.4, 2.7])
    # With a second slot the next job waits at the worker: it ends at 2.2 and is back at 2.4.
    played = play("none", [0.0, 0.1], [[1.0]], network={"delay": 0.2, "slots": 2})
    assert played.latencies == pytest.approx([1.4, 2.3])


REPLICATED = [[5.0, 1.0], [1.0]]  # the first worker straggles once


def test_cancelling_may_do_nothing(play: Any) -> None:
    # Each query runs on both. The first is answered at 1.0 by w1, whereupon w0's job is of no use, and goes on to 5.0.
    played = play("replicate", [0.0, 1.5, 1.6], REPLICATED)
    assert played.cancels[0] == 1.0
    assert [(when, worker) for when, worker, _ in played.starts][:4] == [(0, "w0"), (0, "w1"), (1.5, "w1"), (2.5, "w1")]


def test_a_cooperative_job_stops_at_its_next_check(play: Any) -> None:
    # Checks at 0.75, 1.5, ...: cancelled at 1.0, it stops at 1.5, and w0 serves the query of 1.2 from then on.
    cancel = {"effect": "cooperative", "check": 0.75}
    played = play("replicate", [0.0, 1.1, 1.2], REPLICATED, cancel=cancel)
    assert [(when, worker) for when, worker, _ in played.starts][:4] == [
        (0, "w0"), (0, "w1"), (1.1, "w1"), (1.5, "w0"),
    ]  # fmt: skip
    # A job whose end comes before its next check ends.
    late = play("replicate", [0.0], [[1.2], [1.0]], cancel={"effect": "cooperative", "check": 2.0})
    assert late.fleet.computed(1.0) == 2.0


def test_a_killed_job_frees_its_worker_after_a_restart(play: Any) -> None:
    # Killed at 1.0, w0 is back at 1.8; the query of 1.1 runs on w1, its replica on w0 from 1.8 on.
    played = play("replicate", [0.0, 1.1, 1.2], REPLICATED, cancel={"effect": "kill", "restart": 0.8})
    assert [(when, worker) for when, worker, _ in played.starts][:4] == [(0, "w0"), (0, "w1"), (1.1, "w1"), (1.8, "w0")]
    assert played.simulator.now == pytest.approx(2.8)
    assert played.fleet.computed(2.8) == pytest.approx(1.0 + 1.0 + 1.0 + 1.0 + 0.7)  # the last: a replica, from 2.1 on
    assert played.simulator.dispatcher.stats.failed.total() == 0


def test_a_crash_loses_the_job_and_another_worker_covers_it(play: Any) -> None:
    # w0 dies at 0.6; its query is sent again at once, to w1. It is back at 2.6.
    played = play("none", [0.0, 3.0], [[1.0], [1.0]], failing={0: (0.6,)}, crashes={"every": 9.0, "restart": 2.0})
    assert [(when, worker) for when, worker, _ in played.starts][:2] == [(0.0, "w0"), (0.6, "w1")]
    assert played.latencies == [1.6, 1.0]
    assert played.simulator.dispatcher.stats.covered == 1
    assert played.fleet.computed(played.simulator.now) == pytest.approx(0.6 + 1.0 + 1.0)


def test_a_pause_stops_what_runs(play: Any) -> None:
    # From 0.5 on nobody does anything for 2 s.
    lengths = iter([0.5, 100.0])
    phases = Phases((1.0, 0.0), 0, [lambda: next(lengths), lambda: 2.0])
    played = play("none", [0.0, 1.0, 3.0], [[1.0]] * 3, phases=[phases])
    assert played.latencies == [3.0, 2.5, 1.0]


def test_costs_are_per_call_and_by_ratio(play: Any) -> None:
    # The cheap call: 0.1 of the draw of 2 s, of which a quarter is overhead in any case, and 0.05 s.
    played = play(
        "cheap", [*map(float, range(20)), 30.0], [[*[1.0] * 10, 9.0], [*[1.0] * 10, 2.0]],
        changes=LEARNT | {"accept": "first"}, overhead_share=0.25, costs={"cheap": {"ratio": 0.1, "overhead": 0.05}},
    )  # fmt: skip
    latency, source = played.answers[20]
    assert source is Source.CHEAP
    assert latency - 1.0 == pytest.approx(2.0 * (0.25 + 0.75 * 0.1) + 0.05, abs=0.011)
