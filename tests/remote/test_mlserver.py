"""Workers on real MLServers: the answers of the models here, and none lost where a server stops, dies or returns."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Source
from collage.serving import DataPlane, Encoded, ServingSettings

from ..waiting import until

SCHEMES = ["http", "grpc"]


def make_plane(tmp_path: Path, text: str, **settings: Any) -> DataPlane:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return DataPlane(ServingSettings(fleet=path, **settings))


async def scores(plane: DataPlane, images: list[bytes], **options: Any) -> np.ndarray[Any, Any]:
    answers = await plane.classify([Encoded(image) for image in images], deadline=60.0, **options)
    return np.stack([answer.scores for answer in answers])


def up(plane: DataPlane) -> set[str]:
    return {worker.worker for worker in plane.view().workers}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_its_answers_are_those_of_the_models_here(
    mlservers: Any, samples: list[bytes], tmp_path: Path, scheme: str
) -> None:
    async def main() -> None:
        here = make_plane(tmp_path, "[[local]]\nworkers = 1\n", policy="none")
        urls = [server.url(scheme) for server in mlservers]
        there = make_plane(tmp_path, f"[[remote]]\nurls = {urls}\nslots = 4\nmax_batch = 4\n", policy="none")
        await here.start()
        await there.start()
        assert len(up(there)) == 2
        np.testing.assert_allclose(await scores(here, samples), await scores(there, samples), atol=1e-4)
        await here.stop()
        await there.stop()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_query_is_lost_where_a_server_stops_dies_and_returns(
    mlservers: Any, samples: list[bytes], tmp_path: Path, scheme: str
) -> None:
    """Singles on both servers, collages on the second and here: whatever happens to the first is hidden."""
    first, second = mlservers
    text = f"""
    [[remote]]
    urls = ["{first.url(scheme)}"]
    roles = ["single"]
    slots = 2
    probe_interval = 0.1
    probe_timeout = 0.5
    timeout = 5.0
    [[remote]]
    urls = ["{second.url(scheme)}"]
    slots = 2
    probe_interval = 0.1
    [[local]]
    workers = 1
    roles = ["backup"]
    """

    async def main() -> None:
        plane = make_plane(
            tmp_path, text, policy="collage", policy_overrides={"warmup": 10, "accept": "first"}, control_share=0.0
        )
        name = first.url(scheme).partition("://")[2]
        await plane.start()
        await until(lambda: len(up(plane)) == 3, "all three workers are up")
        single = await scores(plane, samples, accept_degraded=False)
        labels = single.argmax(axis=1).tolist()
        turn = itertools.count()

        async def ask(count: int) -> None:
            """A query at a time, so that each meets the fleet as it is. A backup may err on an image, and says so."""
            for _ in range(count):
                index = next(turn) % len(samples)
                (answer,) = await plane.classify([Encoded(samples[index])], deadline=60.0)
                assert answer.degraded or answer.index == labels[index]

        async def beside(work: Coroutine[Any, Any, object]) -> None:
            await asyncio.gather(work, *(ask(10) for _ in range(4)))

        await ask(20)
        first.send(signal.SIGSTOP)
        try:
            await beside(until(lambda: name not in up(plane), f"{name} is down"))
        finally:
            first.send(signal.SIGCONT)
        await beside(until(lambda: name in up(plane), f"{name} is up"))

        async def kill() -> None:
            first.kill()

        await beside(kill())
        await until(lambda: name not in up(plane), f"{name} is down")
        await ask(10)
        first.start()
        await beside(until(lambda: name in up(plane), f"{name} is up"))
        done = plane.dispatcher.stats
        assert sum(done.answered.values()) == len(samples) + 20 + 4 * 40 + 10
        assert done.answered[Source.COLLAGE] > 0
        await plane.stop()

    asyncio.run(main())
