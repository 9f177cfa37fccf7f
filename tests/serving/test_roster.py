"""Workers that join, are drained and leave while a gateway serves: over real sockets, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collage.dispatch import Role
from collage.engines import LocalEngine
from collage.exceptions import InvalidInput
from collage.serving import DataPlane, Encoded, load_settings

from ..waiting import until, wait_until


class Clients:
    """Threads that ask one query after the other until told to stop; every answer is checked."""

    def __init__(self, gateway: Any, png: Callable[[int], bytes], count: int = 2) -> None:
        self._gateway = gateway
        self._png = png
        self._over = threading.Event()
        self.right = 0
        self.wrong: list[Any] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def _ask(self, number: int) -> None:
        connection = self._gateway.connect()
        while not self._over.is_set():
            number = (number + 3) % 10
            connection.request("POST", "/v1/classify", self._png(number))
            response = connection.getresponse()
            answer = json.loads(response.read())
            with self._lock:
                if response.status == 200 and answer["label"] == f"g{number}":
                    self.right += 1
                else:
                    self.wrong.append(answer)
        connection.close()

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, count: int) -> None:
        """Until so many more are answered."""
        goal = self.right + count
        wait_until(lambda: self.right >= goal or self.wrong, f"{count} more answers")


def states(gateway: Any) -> dict[str, str]:
    _, answer, _ = gateway.ask("GET", "/v1/workers")
    return {worker["id"]: worker["state"] for worker in answer["workers"]}


def await_states(gateway: Any, wanted: dict[str, str]) -> None:
    wait_until(lambda: states(gateway) == wanted, f"the workers are {wanted}")


def test_workers_join_drain_and_leave_under_load_and_no_query_is_lost(
    start_gateway: Callable[..., Any], png: Callable[[int], bytes]
) -> None:
    gateway = start_gateway(workers=2, hold=0.02)
    with Clients(gateway, png) as clients:
        clients.await_more(12)
        status, answer, _ = gateway.ask("POST", "/v1/workers?count=2")
        assert (status, answer) == (201, {"added": ["w2", "w3"]})
        await_states(gateway, dict.fromkeys(["w0", "w1", "w2", "w3"], "up"))
        clients.await_more(12)
        for worker in ("w0", "w1", "w2"):
            assert gateway.ask("POST", f"/v1/workers/{worker}/drain")[1]["state"] in ("draining", "drained")
        await_states(gateway, {"w0": "drained", "w1": "drained", "w2": "drained", "w3": "up"})
        done = {worker["id"]: worker["done"] for worker in gateway.ask("GET", "/v1/workers")[1]["workers"]}
        clients.await_more(12)  # all of them by the last one
        after = {worker["id"]: worker["done"] for worker in gateway.ask("GET", "/v1/workers")[1]["workers"]}
        assert all(after[worker] == done[worker] for worker in ("w0", "w1", "w2"))
        assert after["w3"] > done["w3"]
        status, answer, _ = gateway.ask("POST", "/v1/workers/w3/drain")
        assert status == 400
        assert "last that runs singles" in answer["error"]
        assert gateway.ask("POST", "/v1/workers/w0/resume")[1]["state"] == "up"
        for worker in ("w1", "w2", "w3"):
            assert gateway.ask("DELETE", f"/v1/workers/{worker}")[0] in (200, 202)
        await_states(gateway, {"w0": "up"})
        clients.await_more(12)
        assert gateway.ask("POST", "/v1/workers")[1] == {"added": ["w1"]}
        await_states(gateway, {"w0": "up", "w1": "up"})
    assert clients.wrong == []
    assert clients.right >= 48
    metrics = gateway.metrics()
    assert metrics["collage_workers_lost_total"] == 0  # those that left had nothing left to do
    assert metrics.get('collage_jobs_failed_total{source="single"}', 0) == 0
    assert len(gateway.worker_pids()) == 2
    assert gateway.stop()[0] == 0


def test_a_worker_that_dies_while_it_drains_comes_back_drained_or_is_gone_if_it_was_to_leave(
    start_gateway: Callable[..., Any], png: Callable[[int], bytes]
) -> None:
    gateway = start_gateway(workers=3, hold=0.0)
    pids = gateway.worker_pids()
    for worker in ("w0", "w1"):
        gateway.ask("POST", f"/v1/workers/{worker}/drain")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(gateway.worker_pids()) - set(pids)) == 3, "three new processes are there")
    await_states(gateway, {"w0": "drained", "w1": "drained", "w2": "up"})
    gateway.await_metric("collage_workers_up", 1)  # the dispatcher knows those that may be given jobs
    assert gateway.ask("POST", "/v1/classify", png(4))[1]["label"] == "g4"
    gateway.ask("DELETE", "/v1/workers/w0")
    await_states(gateway, {"w1": "drained", "w2": "up"})
    gateway.stop()


@pytest.fixture(scope="module")
def still(start_gateway: Callable[..., Any]) -> Any:
    return start_gateway(workers=1)


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("POST", "/v1/workers/w9/drain", 400, "no worker 'w9'"),
        ("DELETE", "/v1/workers/w9", 400, "no worker 'w9'"),
        ("DELETE", "/v1/workers/w0", 400, "last that runs singles"),
        ("POST", "/v1/workers?count=0", 400, "a number from 1 to 64"),
        ("POST", "/v1/workers?count=1e3", 400, "a number from 1 to 64"),
        ("PUT", "/v1/workers", 405, "PUT is not taken here"),
    ],
)
def test_what_cannot_be_is_refused_by_name(still: Any, method: str, path: str, status: int, said: str) -> None:
    found, answer, _ = still.ask(method, path)
    assert (found, said in answer["error"]) == (status, True), answer
    assert states(still) == {"w0": "up"}


def test_pages_of_other_sites_cannot_change_workers(still: Any) -> None:
    status, answer, _ = still.ask("POST", "/v1/workers", headers={"Origin": "http://elsewhere.example"})
    assert (status, "own page" in answer["error"]) == (403, True)


def test_workers_follow_the_load(models: dict[str, Path], png: Callable[[int], bytes]) -> None:
    """From one worker to the most it may have while a queue waits, and back when nobody asks any more."""

    async def main() -> None:
        settings = load_settings(
            single=str(models["single"]),
            backup="none",
            policy="none",
            workers=1,
            max_workers=3,
            scale_down_seconds=2,
            max_queue=500,
        )
        plane = DataPlane(settings, hold=lambda *_: 0.02)
        await plane.start()
        assert plane.roster is not None
        assert len(plane.engine.workers) == 1
        answers: list[str] = []

        async def ask(number: int) -> None:
            while len(plane.engine.workers) < 3:
                (answer,) = await plane.classify([Encoded(png(number))])
                answers.append(answer.label)
                assert answer.label == f"g{number}"

        await asyncio.gather(*(ask(number) for number in range(10)))
        await until(lambda: len(plane.engine.workers) == 1, "one worker is left")
        (answer,) = await plane.classify([Encoded(png(3))])
        assert answer.label == "g3"
        assert len(answers) > 10
        await plane.stop()

    asyncio.run(main())


def test_an_engine_that_cannot_start_workers_says_so(models: dict[str, Path]) -> None:
    class Fixed:
        """A local engine that hides that it is elastic."""

        def __init__(self, engine: LocalEngine) -> None:
            self.cancel_effect, self.start, self.submit = engine.cancel_effect, engine.start, engine.submit
            self.cancel, self.stop, self.workers = engine.cancel, engine.stop, engine.workers

    async def main() -> None:
        settings = load_settings(single=str(models["single"]), backup="none", policy="none")
        local = LocalEngine({Role.SINGLE: models["single"].with_suffix(".onnx")}, 2)
        plane = DataPlane(settings, engine=Fixed(local))
        await plane.start()
        roster = plane.roster
        assert roster is not None
        assert not roster.elastic
        for act in (roster.add, lambda: roster.remove("w0")):
            with pytest.raises(InvalidInput, match="can be drained, no more"):
                act()
        roster.drain("w0")
        assert roster.state("w0") == "drained"
        roster.resume("w0")
        assert roster.state("w0") == "up"
        await plane.stop()

    asyncio.run(main())
