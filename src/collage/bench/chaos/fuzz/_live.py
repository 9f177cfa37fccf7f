"""A gateway that is fuzzed, what it holds meanwhile, and its other clients, whom it must go on answering rightly."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from collage.bench._http import HttpPool, post
from collage.bench.chaos._identity import label_of, number_of, png
from collage.bench.chaos._settings import ChaosSettings
from collage.bench.chaos._stage import Layout, Stage, open_stage
from collage.bench.chaos.fuzz._kept import keep
from collage.bench.chaos.fuzz._tally import FuzzChunk

_WORKERS = 2
_JOB_SECONDS = 0.001
_PATIENT_SECONDS = 1.5  # what a request may take to come: half a one costs no more, and a busy machine needs some
_APART = 0.05  # seconds between a neighbour's queries


@dataclass
class Live:
    """One gateway under fuzz. counts: of the part that is running."""

    stage: Stage
    hang_seconds: float
    folder: Path
    log: Path
    counts: FuzzChunk
    asked: int = 0
    _read: int = field(default=0)

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.stage.gateway.host

    @property
    def port(self) -> int:
        """For HTTP."""
        return self.stage.gateway.port

    def memory(self) -> int:
        """Resident, bytes."""
        return resident(str(self.stage.gateway.pid))

    def new_tracebacks(self) -> int:
        """In its log since the last look."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            said = file.read()
        self._read += len(said)
        return said.count(b"Traceback (most recent call last)")


def resident(pid: str) -> int:
    """A process's resident memory, bytes. pid: "self" for this one's."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def open_live(settings: ChaosSettings, folder: Path, *, hang_seconds: float) -> AsyncIterator[Live]:
    """A gateway over HTTP and gRPC whose workers are quick and whose patience with clients is short."""
    small = settings.model_copy(
        update={"workers": _WORKERS, "single_seconds": _JOB_SECONDS, "collage_seconds": _JOB_SECONDS}
    )
    limits = dict.fromkeys(("head_seconds", "body_seconds", "keep_alive_seconds"), _PATIENT_SECONDS)
    log = folder / f"gateway-{Layout.POOL}.log"
    log.unlink(missing_ok=True)
    async with open_stage(small, Layout.POOL, folder, max_image_pixels=2**22, **limits) as stage:
        yield Live(stage, hang_seconds, folder / "found", log, FuzzChunk(target="", seed=0, first=0, inputs=0))


@asynccontextmanager
async def neighbours(live: Live) -> AsyncIterator[None]:
    """Queries with a right answer, one after the other, as long as the context lasts, and one at its end."""
    pool = HttpPool(live.host, live.port)

    async def ask() -> None:
        number = number_of(live.asked)
        live.asked += 1
        live.counts.neighbours += 1
        try:
            answer = await pool.ask(post("/v1/classify", png(number), "x"), seconds=live.hang_seconds)
            right = answer.status == 200 and orjson.loads(answer.body)["label"] == label_of(number)
            said = f"{answer.status} {answer.body[:500]!r}"
        except (OSError, ValueError, KeyError) as error:  # TimeoutError is an OSError
            right, said = False, f"{type(error).__name__}: {error}"
        if not right:
            live.counts.wrong_neighbours += 1
            keep(live.folder, f"neighbour-{live.counts.target}-{live.asked}", png(number), said)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(_APART)  # before: the connection may just have been closed for being idle
            await pool.close()
            await ask()

    task = asyncio.ensure_future(go_on())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await pool.close()
    await ask()
    await pool.close()
