"""Workers elsewhere, behind links: real servers, a real proxy, and delays that are there when they are asked for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from collage.bench._links import LinkedEngine
from collage.dispatch import Role
from collage.engines import Submission
from collage.zoo import load_model

from .conftest import Listener

BOTH = frozenset({Role.SINGLE, Role.COLLAGE})


def grey(index: int) -> NDArray[np.float32]:
    return np.full((1, 1, 8, 8), index / 9, np.float32)


def test_a_slow_link_slows_its_own_worker_while_it_is_slow(models: dict[str, str]) -> None:
    async def main() -> None:
        linked = LinkedEngine({Role(role): load_model(models[role]) for role in ("single", "collage")}, 2)
        listener = Listener()
        await linked.start(listener)
        processes = [pid for pid in linked.workers.values() if pid is not None]
        try:
            assert len(processes) == 2
            ups = [await listener.heard.get() for _ in range(2)]
            assert sorted(ups, key=str) == [("up", "w0", BOTH), ("up", "w1", BOTH)]
            again = Listener()
            linked.attach(again)  # a turn's
            assert sorted([again.heard.get_nowait() for _ in range(2)], key=str) == sorted(ups, key=str)

            linked.hold = lambda worker, role: 0.2  # what a job lasts at least
            linked.submit(Submission(1, "w1", Role.SINGLE, grey(7)))
            kind, job, answer, seconds = await again.heard.get()
            assert (kind, job, answer) == ("completed", 1, 7)
            assert isinstance(seconds, float)
            assert seconds >= 0.2

            linked.submit(Submission(4, "w1", Role.COLLAGE, np.full((1, 1, 24, 24), 7 / 9, np.float32)))
            kind, job, answer, _ = await again.heard.get()
            assert (kind, job, answer) == ("completed", 4, 7)  # of the first of its tiles

            linked.hold = None
            with linked.slow("w1", 0.5):
                linked.submit(Submission(2, "w1", Role.SINGLE, grey(3)))
                linked.submit(Submission(3, "w0", Role.SINGLE, grey(4)))
                (kind, *first), (other, *second) = [await again.heard.get() for _ in range(2)]
            assert (kind, other) == ("completed", "completed")
            assert first[:2] == [3, 4]  # the other worker's was there first
            assert second[:2] == [2, 3]
            assert isinstance(second[2], float)
            assert second[2] >= 1.0  # there and back
        finally:
            await linked.stop()
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes if os.path.isdir("/proc/self"))

    asyncio.run(main())


def test_a_server_that_dies_takes_its_jobs_with_it(models: dict[str, str]) -> None:
    async def main() -> None:
        linked = LinkedEngine({Role.SINGLE: load_model(models["single"])}, 1)
        listener = Listener()
        await linked.start(listener)
        try:
            assert (await listener.heard.get())[0] == "up"
            linked.hold = lambda worker, role: 3600.0
            linked.submit(Submission(1, "w0", Role.SINGLE, grey(1)))
            process = linked.workers["w0"]
            assert process is not None
            os.kill(process, 9)
            heard = await listener.heard.get()
            assert heard[0] in ("down", "failed")  # whichever the connection says first
        finally:
            await linked.stop()
            await linked.stop()

    asyncio.run(main())


@pytest.mark.parametrize("chunks", [1, 40])
def test_nothing_is_lost_or_overtaken_on_a_link(chunks: int) -> None:
    """Bytes that were sent while it was slow come before those sent after it, and the end comes last."""
    from collage.bench._link_process import Link

    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(2**16):
                writer.write(data)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        link = Link(server.sockets[0].getsockname()[1])
        end = await link.open()
        reader, writer = await asyncio.open_connection(*end.sockets[0].getsockname()[:2])
        sent = [bytes([number]) * 10_000 for number in range(chunks)]
        link.delay = 0.05
        for chunk in sent:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
            link.delay = 0.0
        writer.write_eof()
        assert await reader.read(-1) == b"".join(sent)
        writer.close()
        end.close()
        server.close()

    asyncio.run(main())
