"""All targets' inputs, part by part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

from collage.bench.chaos._settings import ChaosSettings, FuzzSettings
from collage.bench.chaos.fuzz import _described
from collage.bench.chaos.fuzz._inside import run_inside
from collage.bench.chaos.fuzz._live import Live, neighbours, open_live
from collage.bench.chaos.fuzz._tally import FuzzChunk, plan
from collage.bench.chaos.fuzz._targets import TARGETS
from collage.bench.chaos.fuzz._wire import WIRE_TARGETS, run_wire
from collage.exceptions import SettingsError

_NEEDS = {_described.NAME: "schemathesis"}
# Every target, by its name: what it is given.
GIVEN = {
    **{target.name: target.what for target in TARGETS.values()},
    _described.NAME: _described.WHAT,
    **{target.name: target.what for target in WIRE_TARGETS.values()},
}


def fuzz_plan(fuzz: FuzzSettings) -> list[FuzzChunk]:
    """Every part, empty. Raises SettingsError for a target that is none; one that lacks its package is left out."""
    for name in fuzz.targets:
        if name not in GIVEN:
            raise SettingsError(f"fuzz.targets: {name!r} is none; there are {', '.join(GIVEN)}")
    inside = [target.name for target in TARGETS.values() if target.needs is None or find_spec(target.needs)]
    live = [name for name in GIVEN if name not in TARGETS and (name not in _NEEDS or find_spec(_NEEDS[name]))]
    chosen = fuzz.targets or (*inside, *live)
    return plan(fuzz, [name for name in live if name in chosen], [name for name in inside if name in chosen])


async def run_fuzz(
    settings: ChaosSettings,
    fuzz: FuzzSettings,
    chunks: Sequence[FuzzChunk],
    folder: Path,
    on_chunk: Callable[[FuzzChunk], None],
) -> None:
    """Run these parts; each is handed over as it ends. Inputs that did harm are kept in `folder`/found."""
    async with AsyncExitStack() as stack:
        live: Live | None = None
        for chunk in chunks:
            if chunk.target in TARGETS:
                found = await run_inside(
                    *(chunk.target, chunk.seed, chunk.first, chunk.inputs),
                    hang_seconds=fuzz.hang_seconds,
                    folder=folder / "found",
                )
            else:
                if live is None:
                    live = await stack.enter_async_context(open_live(settings, folder, hang_seconds=fuzz.hang_seconds))
                found = await _run_live(live, chunk)
            on_chunk(found)


async def _run_live(live: Live, chunk: FuzzChunk) -> FuzzChunk:
    counts = live.counts = chunk.model_copy(update={"inputs": 0})
    async with neighbours(live):
        if chunk.target == _described.NAME:
            await asyncio.to_thread(_described.run_described, live, chunk.seed, chunk.first, chunk.inputs)
        else:
            await run_wire(WIRE_TARGETS[chunk.target], live, chunk.seed, chunk.first, chunk.inputs)
    if not live.stage.gateway.alive:
        counts.crashes += 1
    else:
        counts.memory_after = live.memory()
    counts.tracebacks = live.new_tracebacks()
    counts.inputs = chunk.inputs
    return counts
