"""Data planes of the toy models in the test's own process, and clients who check every answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from collage.dispatch import Source
from collage.engines import LocalEngine
from collage.serving import DataPlane, Encoded, ServingSettings

Png = Callable[[int], bytes]
Models = dict[str, Path]
FOREVER = 1000.0


def settings(models: Models, **changes: Any) -> ServingSettings:
    given = {"single": str(models["single"]), "backup": str(models["collage"]), "workers": 3} | changes
    return ServingSettings(**given)


@asynccontextmanager
async def running(models: Models, hold: float | None = None, **changes: Any) -> AsyncIterator[DataPlane]:
    plane = DataPlane(settings(models, **changes), hold=None if hold is None else lambda *_: hold)
    assert not plane.ready
    try:
        await plane.start()
        assert plane.ready
        yield plane
    finally:
        await plane.stop()
    assert plane.in_flight == 0


async def classify_many(
    plane: DataPlane, png: Png, count: int, at_once: int, on_answer: Callable[[int], None] = lambda number: None
) -> Counter[Source]:
    """Sends `count` images, `at_once` of them at a time; every one must be answered, and rightly."""
    numbers, sources = iter(range(count)), Counter[Source]()

    async def client() -> None:
        for number in numbers:
            (answer,) = await plane.classify([Encoded(png(number % 10))])
            assert answer.label == f"g{number % 10}", answer.source
            sources[answer.source] += 1
            on_answer(sources.total())

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(client())
    assert sources.total() == count
    return sources


def pids(plane: DataPlane) -> list[int]:
    assert isinstance(plane.engine, LocalEngine)
    return [pid for pid in plane.engine.workers.values() if pid is not None]


def of_kind(models: Models, folder: Path, name: str, role: str, k: int | None = None) -> str:
    """The single's own model under another card."""
    card = json.loads(models["single"].read_text())
    changed = card | {"name": name, "role": role, "k": k, "single_sha256": card["sha256"]}
    (folder / f"{name}.json").write_text(json.dumps(changed))
    (folder / card["file"]).write_bytes(models["single"].with_name(card["file"]).read_bytes())
    return str(folder / f"{name}.json")
