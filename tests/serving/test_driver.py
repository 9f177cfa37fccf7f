"""The driver alone: events in, actions carried out, answers given."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from collage.dispatch import (
    Answer,
    Cancel,
    Outcome,
    Reject,
    Role,
    Settled,
    Source,
    Start,
    Why,
    WorkerState,
)
from collage.serving._kept import Answered

from .driving import ROLES, Stage, scores, staged, tiles


@staged
async def test_a_single_is_run_and_answers(stage: Stage) -> None:
    result = stage.submit(0.5, Start(1, "a", Source.SINGLE, (1,)))
    assert stage.events("worker") == [("a", WorkerState.UP, ROLES, 1, 0.0)]
    assert stage.events("submit") == [(1, "k", 9.0, True, 0.0)]
    (job, worker, role, inputs) = stage.engine.submitted[0]
    assert (job, worker, role, inputs.shape) == (1, "a", Role.SINGLE, (1, 1, 2, 2))
    assert inputs.max() == inputs.min() == 0.5
    stage.clock.now = 2.0
    stage.dispatcher.on("completed", Answer(1, Source.SINGLE, 0.9, 1, 0), Settled(1, control=False))
    stage.driver.job_completed(1, scores(2), 0.1)
    ((job, (outcome,), now),) = stage.events("completed")
    assert (job, outcome.known, now) == (1, True, 2.0)
    assert outcome.confidence == pytest.approx(np.exp(5) / (np.exp(5) + 2))
    answer = await result
    assert (answer.scores.argmax(), answer.confidence, answer.source, answer.at) == (2, 0.9, Source.SINGLE, 2.0)
    assert stage.driver._queries == {}


@staged
async def test_a_collage_is_made_of_tiles_and_answers_by_position(stage: Stage) -> None:
    results = [stage.submit(brightness) for brightness in (10, 20, 30)]
    stage.dispatcher.on("tick", Start(7, "a", Source.COLLAGE, (3, 1, 2), 4))
    stage.driver._tick()
    (_, _, role, canvas) = stage.engine.submitted[0]
    assert (role, canvas.shape) == (Role.COLLAGE, (1, 1, 4, 4))
    assert canvas[0, 0, ::2, ::2].tolist() == [[31.0, 11.0], [21.0, 0.0]]
    stage.dispatcher.on(
        "completed",
        Answer(3, Source.COLLAGE, 0.8, 7, 0),
        Settled(3, control=False),
        Answer(2, Source.COLLAGE, 0.7, 7, 2),
        Settled(2, control=False),
    )
    stage.driver.job_completed(7, tiles(0, None, 2), 0.1)
    ((_, outcomes, _),) = stage.events("completed")
    assert [outcome.known for outcome in outcomes] == [True, False, True]
    assert outcomes[1] == Outcome(False, 0.0)
    assert (await results[2]).scores.argmax() == 0
    assert (await results[1]).scores.argmax() == 2
    assert not results[0].done()
    # Watchers see it grow, and it is kept no longer than its queries.
    assert stage.seen[-1] == (7, {0, 2})
    assert list(stage.driver._collages) == [7]
    stage.dispatcher.on("cancelled", Reject(1, Why.CANCELLED), Settled(1, control=False))
    results[0].cancel()
    await asyncio.sleep(0)
    assert stage.driver._collages == {}
    assert stage.driver._queries == {}


@staged
async def test_an_answer_kept_back_is_given_later(stage: Stage) -> None:
    result = stage.submit(1.0, Start(1, "a", Source.COLLAGE, (1,), 4))
    stage.driver.job_completed(1, tiles(1), 0.1)
    assert not result.done()
    assert stage.seen == [(1, set())]
    stage.dispatcher.on("tick", Answer(1, Source.COLLAGE, 0.6, 1, 0), Settled(1, control=False))
    stage.driver._tick()
    assert (await result).scores.argmax() == 1
    assert stage.seen[-1] == (1, {0})
    assert stage.driver._collages == {}


@pytest.mark.parametrize(
    ("source", "output"),
    [
        (Source.SINGLE, np.full((1, 3), np.nan, np.float32)),
        (Source.SINGLE, np.array([[1.0, np.inf, 0.0]], np.float32)),
        (Source.SINGLE, np.zeros((1, 4), np.float32)),
        (Source.SINGLE, np.zeros((), np.float32)),
        (Source.REPLICA, np.zeros((2, 3), np.float32)),
        (Source.COLLAGE, np.zeros((1, 4, 3), np.float32)),
        (Source.COLLAGE, np.zeros((0,), np.float32)),
        (Source.COLLAGE, np.full((1, 4, 4), np.nan, np.float32)),
    ],
)
def test_an_output_that_is_none_fails_the_job(source: Source, output: np.ndarray) -> None:
    @staged
    async def test(stage: Stage) -> None:
        result = stage.submit(1.0, Start(1, "a", source, (1,), 4 if source is Source.COLLAGE else 1))
        stage.dispatcher.on("failed", Reject(1, Why.FAILED), Settled(1, control=False))
        stage.driver.job_completed(1, output, 0.1)
        assert stage.events("completed") == []
        assert [event[0] for event in stage.events("failed")] == [1]
        assert await result is Why.FAILED

    test()


@staged
async def test_a_tile_of_nan_is_unknown_and_its_neighbours_stand(stage: Stage) -> None:
    stage.submit(1.0)
    stage.submit(2.0, Start(1, "a", Source.COLLAGE, (1, 2), 4))
    output = tiles(0, 1)
    output[0, 0] = np.nan
    stage.driver.job_completed(1, output, 0.1)
    ((_, outcomes, _),) = stage.events("completed")
    assert [outcome.known for outcome in outcomes] == [False, True]


@staged
async def test_what_an_action_brings_about_waits_for_the_actions_before_it(stage: Stage) -> None:
    stage.engine.refuses = True
    stage.dispatcher.on("failed", Start(3, "a", Source.SINGLE, (1,)))
    result = stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)), Start(2, "a", Source.SINGLE, (1,)))
    names = [event[0] for event in stage.dispatcher.events]
    # Both starts are refused before the first refusal is told; what that brings is done before the second's.
    assert names == ["worker", "submit", "failed", "failed", "failed"]
    assert [event[0] for event in stage.events("failed")] == [1, 2, 3]
    assert "busy" in stage.events("failed")[0][1]
    assert not result.done()


@staged
async def test_a_cancelled_future_cancels_the_query_once(stage: Stage) -> None:
    result = stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.dispatcher.on("cancelled", Reject(1, Why.CANCELLED), Cancel(1), Settled(1, control=False))
    result.cancel()
    await asyncio.sleep(0)
    assert stage.events("cancelled") == [(1, 0.0)]
    assert stage.engine.cancelled == [1]
    stage.driver.job_completed(1, scores(0), 0.1)  # nobody waits, but its slot is free
    assert [event[0] for event in stage.events("completed")] == [1]


@staged
async def test_an_action_that_cannot_be_carried_out_costs_no_other(stage: Stage) -> None:
    first = stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    second = stage.submit(2.0)

    def broken(job: int) -> None:
        raise RuntimeError("the engine is broken")

    stage.engine.cancel = broken  # type: ignore[method-assign]
    stage.dispatcher.next_tick = 3.0
    stage.dispatcher.on("tick", Cancel(1), Reject(1, Why.DEADLINE), Reject(2, Why.DEADLINE))
    stage.driver._tick()
    assert await first is await second is Why.DEADLINE
    assert stage.driver._timer is not None  # it goes on


@staged
async def test_an_answer_in_the_same_moment_as_a_cancellation(stage: Stage) -> None:
    result = stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.dispatcher.on("completed", Answer(1, Source.SINGLE, 0.9, 1, 0), Settled(1, control=False))
    result.cancel()
    stage.driver.job_completed(1, scores(0), 0.1)
    await asyncio.sleep(0)
    assert stage.events("cancelled") == []  # it was settled already


@staged
async def test_what_a_dead_worker_ran_is_not_heard_of_again(stage: Stage) -> None:
    stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.driver.worker_down("a", "killed")
    assert not stage.driver.workers_up
    assert stage.events("worker")[-1] == ("a", WorkerState.DOWN, frozenset(), 0, 0.0)
    stage.driver.job_completed(1, scores(0), 0.1)
    stage.driver.job_failed(1, "x")
    stage.driver.job_freed(1)
    assert stage.events("completed") + stage.events("failed") + stage.events("freed") == []


@staged
async def test_a_freed_job_is_told(stage: Stage) -> None:
    stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.driver.job_freed(1)
    assert stage.events("freed") == [(1, 0.0)]


@pytest.mark.parametrize(("backup", "agreed"), [(2, 1), (1, 0)])
def test_controls_compare_single_and_backup(backup: int, agreed: int) -> None:
    @staged
    async def test(stage: Stage) -> None:
        stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)), Start(2, "a", Source.COLLAGE, (1,), 4))
        stage.dispatcher.on("completed", Answer(1, Source.SINGLE, 0.9, 1, 0))
        stage.dispatcher.on("completed", Settled(1, control=True))
        stage.driver.job_completed(1, scores(2), 0.1)
        stage.driver.job_completed(2, tiles(backup), 0.1)
        assert (stage.driver.agreement.agreed, stage.driver.agreement.compared) == (agreed, 1)
        # A control whose backup had nothing to say compares nothing; nor does a query that is no control.
        for query, control, said in ((2, True, None), (3, False, 0)):
            stage.submit(1.0, Start(3, "a", Source.SINGLE, (query,)), Start(4, "a", Source.COLLAGE, (query,), 4))
            stage.dispatcher.on("completed", Answer(query, Source.SINGLE, 0.9, 3, 0))
            stage.dispatcher.on("completed", Settled(query, control=control))
            stage.driver.job_completed(3, scores(2), 0.1)
            stage.driver.job_completed(4, tiles(said), 0.1)
        assert stage.driver.agreement.compared == 1

    test()


@staged
async def test_the_dispatcher_is_woken_when_it_wants(stage: Stage) -> None:
    stage.dispatcher.next_tick = 3.0
    stage.submit(1.0)
    stage.dispatcher.next_tick = 2.0
    stage.submit(1.0)
    stage.clock.move_to(1.9)
    assert stage.events("tick") == []
    stage.dispatcher.next_tick = 5.0
    stage.clock.move_to(4.9)
    assert stage.events("tick") == [(2.0,)]
    stage.dispatcher.next_tick = None
    stage.clock.move_to(9.0)
    assert stage.events("tick") == [(2.0,), (5.0,)]


@staged
async def test_closing_answers_everyone_and_hears_no_more(stage: Stage) -> None:
    stage.dispatcher.next_tick = 1.0
    results = [stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,))), stage.submit(2.0)]
    stage.driver.close()
    assert [await result for result in results] == [Why.CANCELLED] * 2
    told = len(stage.dispatcher.events)
    stage.driver.job_completed(1, scores(0), 0.1)
    stage.driver.worker_up("b", ROLES, 1)
    stage.driver.worker_down("a", "x")
    stage.clock.move_to(9.0)
    assert len(stage.dispatcher.events) == told
    assert not isinstance(results[0].result(), Answered)
