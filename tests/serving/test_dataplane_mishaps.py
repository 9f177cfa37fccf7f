"""The data plane when workers die, images are bad, clients leave, too many come, or it is stopped: no query is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import numpy as np
import pytest

from collage.dispatch import Source
from collage.exceptions import DeadlineExceeded, InvalidImage, InvalidInput, Unavailable
from collage.serving import Classified, DataPlane, Encoded, Pixels, Tensor
from collage.serving._dataplane import _THREADS
from collage.serving._inputs import ImageInput
from collage.serving._prepare import Prepared

from .planes import FOREVER, Models, Png, classify_many, pids, running, settings


@pytest.mark.parametrize("policy", ["none", "collage", "replicate"])
def test_killing_workers_under_load_loses_no_query(models: Models, png: Png, policy: str) -> None:
    async def main() -> None:
        killed = []
        async with running(models, hold=0.005, policy=policy) as plane:

            def kill(answered: int) -> None:
                if answered in (50, 130, 210):
                    victim = pids(plane)[answered % len(pids(plane))]
                    if victim not in killed:
                        os.kill(victim, signal.SIGKILL)
                        killed.append(victim)

            await classify_many(plane, png, count=400, at_once=12, on_answer=kill)
            assert killed
            assert not set(killed) & set(pids(plane))

    asyncio.run(main())


def test_when_all_workers_die_queries_wait_for_the_next_ones(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=0.005) as plane:

            def kill(answered: int) -> None:
                if answered == 30:
                    for pid in pids(plane):
                        os.kill(pid, signal.SIGKILL)

            await classify_many(plane, png, count=80, at_once=8, on_answer=kill)

    asyncio.run(main())


def test_a_frozen_workers_queries_are_covered(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=0.005, policy="collage", workers=4) as plane:

            def freeze(answered: int) -> None:
                if answered == 100:
                    os.kill(pids(plane)[0], signal.SIGSTOP)

            sources = await classify_many(plane, png, count=300, at_once=9, on_answer=freeze)
            assert sources[Source.COLLAGE] + sources[Source.REPLICA] > 0

    asyncio.run(main())


def test_a_bad_image_costs_nobody_anything(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models) as plane:
            told: list[Classified] = []
            plane.on_answered.append(told.append)
            good = [plane.classify([Encoded(png(index))]) for index in range(10)]
            bad = [
                plane.classify([Encoded(png(1)), Encoded(b"no image"), Encoded(png(2))]),
                plane.classify([Encoded(png(1))] * 30 + [Encoded(png(2)[:50])]),
                plane.classify([Tensor(np.full((1, 8, 8), np.nan, np.float32))]),
                plane.classify([Pixels(np.zeros((0, 3, 1), np.uint8))]),
                plane.classify([]),
                plane.classify([Encoded(png(1))], deadline=-1.0),
                plane.classify([Encoded(png(1))], deadline=float("nan")),
            ]
            results = await asyncio.gather(*good, *bad, return_exceptions=True)
            assert [result[0].index for result in results[:10]] == list(range(10))  # type: ignore[index]
            assert [type(result) for result in results[10:]] == [InvalidImage] * 2 + [InvalidInput] * 5
            assert [result.field for result in results[10:]] == [  # type: ignore[union-attr]
                "images[1]", "images[30]", "image", "image", "images", "deadline", "deadline",
            ]  # fmt: skip
            assert len(told) == 10

    asyncio.run(main())


def test_a_deadline_is_kept(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=FOREVER, policy="none") as plane:
            with pytest.raises(DeadlineExceeded):
                await plane.classify([Encoded(png(1))], deadline=0.05)

    asyncio.run(main())


def test_too_many_queries_are_refused_whole(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=FOREVER, max_queue=10, max_images=10) as plane:
            first = asyncio.create_task(plane.classify([Encoded(png(1))] * 8))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="8 queries are in flight and 3 more"):
                await plane.classify([Encoded(png(1))] * 3)
            assert plane.in_flight == 8
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert plane.in_flight == 0

    asyncio.run(main())


def test_a_cancelled_request_leaves_room_for_others(models: Models, png: Png) -> None:
    async def main() -> None:
        holds = iter([0.2] * 3)
        plane = DataPlane(settings(models, policy="none"), hold=lambda *_: next(holds, 0.0))
        await plane.start()
        try:
            gone = asyncio.create_task(plane.classify([Encoded(png(1))] * 40))
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert plane.in_flight == 0
            # Three of its jobs run on to their end; the other 37 are never started.
            await classify_many(plane, png, count=20, at_once=3)
            assert next(holds, None) is None
        finally:
            await plane.stop()

    asyncio.run(main())


def test_stopping_lets_what_was_taken_finish(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=0.05) as plane:
            processes = pids(plane)
            taken = asyncio.create_task(plane.classify([Encoded(png(index)) for index in range(10)]))
            await asyncio.sleep(0)
            stopping = asyncio.create_task(plane.stop(FOREVER))
            await asyncio.sleep(0)
            assert not plane.ready
            with pytest.raises(Unavailable, match="not ready"):
                await plane.classify([Encoded(png(1))])
            assert [answer.index for answer in await taken] == list(range(10))
            await stopping
            for pid in processes:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)

    asyncio.run(main())


def test_stopping_does_not_wait_for_ever(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models, hold=FOREVER) as plane:
            taken = asyncio.create_task(plane.classify([Encoded(png(1))]))
            await asyncio.sleep(0)
            await plane.stop(0.05)
            with pytest.raises(Unavailable, match="stopping"):
                await taken

    asyncio.run(main())


@pytest.mark.parametrize("how", ["deadline", "gone", "stopping"])
def test_images_of_an_abandoned_request_are_not_decoded(
    models: Models, png: Png, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running(models, policy="none", backup="none") as plane:
            begun: list[str] = []
            decoding, go_on, prepare = threading.Event(), threading.Event(), plane._preparer.prepare

            def held(image: ImageInput, field: str) -> Prepared:
                begun.append(field)
                decoding.set()
                go_on.wait()
                return prepare(image, field)

            monkeypatch.setattr(plane._preparer, "prepare", held)
            pixels = Pixels(np.zeros((8, 8, 3), np.uint8))
            query = asyncio.ensure_future(plane.classify([pixels] * 60, deadline=0.1 if how == "deadline" else None))
            try:
                await asyncio.to_thread(decoding.wait)
                if how == "deadline":
                    with pytest.raises(DeadlineExceeded):
                        await asyncio.wait_for(query, 60)
                elif how == "gone":
                    query.cancel()
                    await asyncio.wait((query,))
                else:
                    await plane.stop()
            finally:
                go_on.set()
            assert plane._pool is not None
            await asyncio.to_thread(plane._pool.shutdown)  # every image that will be decoded has been
            assert len(begun) <= _THREADS
            if how == "stopping":
                with pytest.raises(Unavailable, match="the service is stopping"):
                    await query

    asyncio.run(main())
