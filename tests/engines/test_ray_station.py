"""A worker of the `ray` engine across its lives, with an actor that is played: what a cluster does only by chance."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import RayEngine, RayOptions, Submission
from collage.engines._ray_actor import Presence, RayWorker, Sent
from collage.engines._ray_station import RayStation
from collage.exceptions import SettingsError

IMAGE = np.zeros((1, 3, 4, 4), np.float32)
OUTPUT = np.ones((1, 10), np.float32)


class RayError(Exception):
    pass


class ActorDied(RayError):
    pass


class ActorUnavailable(RayError):
    pass


class Method:
    """Calls of an actor's method, each a future that the test answers."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[tuple[Any, ...], asyncio.Future[Any]]] = asyncio.Queue()

    def options(self, **_: Any) -> Method:
        return self

    def remote(self, *arguments: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((arguments, future))
        return future

    async def answer(self, value: Any) -> tuple[Any, ...]:
        arguments, future = await self.calls.get()
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)
        return arguments


class Actor:
    def __init__(self) -> None:
        self.load, self.watch, self.run = Method(), Method(), Method()


class Place:
    """An engine that is played."""

    def __init__(self, listener: Any, start_seconds: float = 60.0) -> None:
        errors = {"ActorUnavailableError": ActorUnavailable, "RayActorError": RayError, "RayError": RayError}
        self.ray = SimpleNamespace(exceptions=SimpleNamespace(**errors))
        self.listener, self.start_seconds = listener, start_seconds
        self.made: asyncio.Queue[Actor] = asyncio.Queue()
        self.killed: list[tuple[Actor, bool]] = []

    async def make(self) -> Actor:
        actor = Actor()
        self.made.put_nowait(actor)
        return actor

    async def kill(self, actor: Actor, *, again: bool) -> None:
        self.killed.append((actor, again))

    async def room(self) -> str:
        return "there is no room"

    def parcel(self, roles: frozenset[Role]) -> tuple[Any, ...]:
        return (sorted(roles),)


class Stage:
    """A station that lives in a task."""

    def __init__(self, recorder: Any, place: Place | None = None, **given: Any) -> None:
        self.place = place or Place(recorder, **given)
        self.station = RayStation(self.place, "w0", {(Role.SINGLE, None): 0})
        self.task = asyncio.create_task(self.station.supervise())

    async def up(self) -> Actor:
        actor = await self.place.made.get()
        assert await actor.load.answer(Presence("node", 7, "")) == (["single"],)
        return actor

    def submit(self, job: int, limit: float = float("inf")) -> None:
        self.station.submit(Submission(job, "w0", Role.SINGLE, IMAGE), 0.0, limit)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (("w0#9", 0.1, OUTPUT), "no answer of this job"),
        (None, "no answer of this job"),
        (("w0#1", float("nan"), OUTPUT), "no time"),
        (("w0#1", 0.1, OUTPUT.astype(np.float64)), "no float32 tensor"),
        (("w0#1", 0.1, [1.0]), "no float32 tensor"),
        (("w0#1", 0.1, np.zeros((1, 2**23), np.float32)), "over the limits"),
        (ValueError("Got: 5\nExpected: 4"), "ValueError: Got: 5 Expected: 4"),
    ],
)
def test_an_answer_that_is_none_fails_the_job_and_not_the_worker(recorder: Any, answer: Any, why: str) -> None:
    async def main() -> None:
        stage = Stage(recorder)
        actor = await stage.up()
        await recorder.next("up")
        stage.submit(1)
        await actor.run.answer(answer)
        failed = await recorder.next("failed")
        assert failed[1] == 1
        assert why in failed[2]
        stage.submit(2)
        await actor.run.answer(("w0#2", 0.5, OUTPUT))
        completed = await recorder.next("completed")
        assert (completed[1], completed[3]) == (2, 0.5)
        await stage.end()
        assert stage.place.killed == [(actor, False)]

    asyncio.run(main())


def test_what_an_actor_s_former_life_answers_is_nobodys(recorder: Any) -> None:
    """The connection broke, the actor lives: it is loaded again, and the old job's answer comes late."""

    async def main() -> None:
        stage = Stage(recorder)
        actor = await stage.up()
        await recorder.next("up")
        stage.submit(1)
        _, late = await actor.run.calls.get()
        await actor.watch.answer(ActorUnavailable("Socket closed"))
        assert await recorder.next() == ("down", "w0", "Socket closed")
        await actor.load.answer(ActorUnavailable("still on its way"))
        await actor.load.answer(Presence("elsewhere", 8, ""))
        await recorder.next("up")
        assert (stage.station.node, stage.station.process) == ("elsewhere", 8)
        stage.submit(2)
        late.set_result(("w0#1", 0.1, OUTPUT))
        await actor.run.answer(("w0#2", 0.1, OUTPUT))
        assert (await recorder.next("completed"))[1] == 2
        await stage.end()
        assert recorder.silent()

    asyncio.run(main())


def test_a_job_may_be_the_first_to_notice_and_it_is_said_once(recorder: Any) -> None:
    async def main() -> None:
        stage = Stage(recorder)
        actor = await stage.up()
        await recorder.next("up")
        stage.submit(1)
        await actor.run.answer(ActorUnavailable("Socket closed"))
        assert (await recorder.next("down"))[1] == "w0"
        stage.submit(2)
        assert await recorder.next() == ("failed", 2, "worker w0 is down")
        await actor.load.answer(Presence("node", 9, ""))
        await recorder.next("up")
        await stage.end()
        assert recorder.silent()

    asyncio.run(main())


def test_an_actor_that_ray_gives_up_or_that_cannot_load_is_made_anew(recorder: Any) -> None:
    async def main() -> None:
        stage = Stage(recorder)
        first = await stage.up()
        await recorder.next("up")
        await first.watch.answer(ActorDied("its owner is gone"))
        await recorder.next("down")
        await first.load.answer(ActorDied("The actor is dead.\nand a page more"))
        second = await stage.place.made.get()
        assert stage.station.trouble == "The actor is dead."
        await second.load.answer(Presence("node", 7, "Fail: no such model"))
        third = await stage.place.made.get()
        assert stage.station.trouble == "Fail: no such model"
        await third.load.answer(Presence("node", 7, ""))
        await recorder.next("up")
        await stage.end()
        assert [again for _, again in stage.place.killed] == [False, False, False]

    asyncio.run(main())


def test_a_job_that_runs_for_too_long_has_its_actor_killed_and_made_again(recorder: Any) -> None:
    async def main() -> None:
        stage = Stage(recorder)
        actor = await stage.up()
        await recorder.next("up")
        stage.submit(1, limit=0.01)
        assert (await recorder.next("down"))[2] == "a job ran for more than 0.01 s"
        await actor.load.answer(Presence("node", 8, ""))
        await recorder.next("up")
        assert stage.place.killed == [(actor, True)]
        await stage.end()

    asyncio.run(main())


def test_a_cluster_that_cannot_even_say_what_there_is_keeps_nobody_waiting(recorder: Any) -> None:
    async def main() -> None:
        place = Place(recorder, start_seconds=0.01)

        async def room() -> str:
            raise RayError("GCS is gone\n\nand a page of more")

        place.room = room  # type: ignore[method-assign]
        stage = Stage(recorder, place)
        async with asyncio.timeout(30):
            await stage.station.tried.wait()
        assert stage.station.trouble == "it was not placed and ready within 0.01 s: GCS is gone"
        await stage.end()

    asyncio.run(main())


def test_one_without_a_place_says_what_there_is(recorder: Any) -> None:
    async def main() -> None:
        stage = Stage(recorder, start_seconds=0.01)
        await stage.station.tried.wait()
        assert stage.station.trouble == "it was not placed and ready within 0.01 s: there is no room"
        await stage.up()  # it waits on, and takes its place when there is one
        await recorder.next("up")
        await stage.end()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "head", "head:0", ":6379"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^ray_address: "):
        RayEngine({Role.SINGLE: None}, 1, options=RayOptions(address=address))  # type: ignore[dict-item]


def test_what_arrives_changed_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "node"))
    monkeypatch.setitem(sys.modules, "ray", context)
    worker = RayWorker(1, gpu=False)
    assert worker.load([Sent("m.onnx", "0" * 64)], b"other").broken == (
        "ValueError: m.onnx: what arrived is not what was sent"
    )
