"""What the driver tells of each query once it is over, and of each worker's last failure."""

from __future__ import annotations

from collage.dispatch import (
    Answer,
    Cancel,
    Reject,
    Settled,
    Source,
    Start,
    Why,
)

from .driving import Stage, image, scores, staged, tiles


@staged
async def test_closing_ends_every_story(stage: Stage) -> None:
    """Those who watch jobs to their end would wait for ever."""
    stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.clock.now = 2.0
    stage.dispatcher.on("tick", Reject(1, Why.DEADLINE), Settled(1, control=False))
    stage.driver._tick()
    stage.submit(2.0)
    stage.clock.now = 3.0
    stage.driver.close()
    settled, open_ = stage.stories
    assert [(job.ended, job.how) for job in settled.jobs] == [(3.0, "running")]
    assert (settled.outcome, settled.at, open_.outcome, open_.at) == (Why.DEADLINE, 2.0, Why.CANCELLED, 3.0)


@staged
async def test_an_answer_may_be_of_another_query_that_is_settled_later(stage: Stage) -> None:
    first = stage.submit(1, Start(1, "a", Source.SINGLE, (1,)))
    second = stage.driver.submit(image(1), [image(2)], digest=b"cat")
    stage.dispatcher.on("tick", Reject(1, Why.DEADLINE))
    stage.driver._tick()
    assert await first is Why.DEADLINE  # its client has gone, and its job goes on for the other
    stage.dispatcher.on(
        "completed",
        Answer(2, Source.SINGLE, 0.9, 1, 0, of=1), Settled(2, control=False), Settled(1, control=False),
    )  # fmt: skip
    stage.driver.job_completed(1, scores(2), 0.1)
    answer = await second
    assert (answer.scores.argmax(), answer.source) == (2, Source.SINGLE)
    assert stage.driver._queries == {}


@staged
async def test_a_story_goes_on_until_the_last_job_has_ended(stage: Stage) -> None:
    stage.clock.now = 1.0
    stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.clock.now = 1.5
    stage.submit(2.0, Start(2, "b", Source.COLLAGE, (1, 2), 4))
    stage.clock.now = 2.0
    stage.dispatcher.on(
        "completed", Answer(1, Source.COLLAGE, 0.9, 2, 0), Cancel(1), Settled(1, control=False), Reject(2, Why.FAILED)
    )
    stage.driver.job_completed(2, tiles(1), 0.5)
    (story,) = stage.stories
    assert (story.query, story.entered, story.outcome, story.winner) == (1, 1.0, Source.COLLAGE, 2)
    assert (story.seconds, story.without_backups) == (1.0, None)  # it is no control
    single, collage = story.jobs
    assert (collage.worker, collage.queries, collage.began, collage.ended, collage.how) == ("b", 2, 1.5, 2.0, "done")
    assert (single.worker, single.queries, single.ended, single.how) == ("a", 1, None, "running")
    stage.clock.now = 3.0
    stage.driver.job_freed(1)
    assert (single.ended, single.how) == (3.0, "cancelled")


@staged
async def test_a_control_tells_how_long_it_would_have_taken_without_backups(stage: Stage) -> None:
    stage.submit(1.0, Start(1, "a", Source.SINGLE, (1,)))
    stage.submit(1.0, Start(2, "a", Source.SINGLE, (2,)))
    stage.submit(1.0, Start(3, "b", Source.COLLAGE, (1, 2), 4))
    stage.clock.now = 1.0
    answers = [Answer(query, Source.COLLAGE, 0.9, 3, place) for place, query in enumerate((1, 2))]
    stage.dispatcher.on("completed", *answers)
    stage.driver.job_completed(3, tiles(1, 1), 1.0)
    assert stage.stories == []
    stage.clock.now = 4.0
    stage.dispatcher.on("completed", Settled(1, control=True))
    stage.driver.job_completed(1, scores(1), 4.0)
    stage.clock.now = 6.0
    stage.dispatcher.on("worker", Settled(2, control=True))
    stage.driver.worker_down("a", "it died")
    told = [(story.seconds, story.without_backups, story.jobs[0].how) for story in stage.stories]
    assert told == [(1.0, 4.0, "done"), (1.0, 6.0, "lost")]  # of the second: at least so long


@staged
async def test_each_workers_last_failure_is_kept_while_it_is_there(stage: Stage) -> None:
    for query, worker in enumerate("aaba", 1):
        stage.submit(1.0, Start(query, worker, Source.SINGLE, (query,)))
    stage.driver.job_failed(1, "out of " + 400 * "memory")
    assert stage.driver.failures["a"][1].startswith("a single: out of memory")
    assert len(stage.driver.failures["a"][1]) == 200
    stage.clock.now = 2.0
    stage.driver.job_completed(2, scores(1)[:, :2], 0.1)
    stage.driver.worker_down("b", "it died")
    assert {worker: when for worker, (when, _) in stage.driver.failures.items()} == {"a": 2.0, "b": 2.0}
    assert stage.driver.failures["a"][1].startswith("unusable output of a single: ")
    assert stage.driver.failures["b"][1] == "it died"
    stage.engine.workers.remove("b")
    stage.driver.worker_down("b", "it was removed")
    assert list(stage.driver.failures) == ["a"]
