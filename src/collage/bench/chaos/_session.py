"""A whole run: every fault on a gateway that lives through all of its layout's, the overload, the soak, the fuzzing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from collage.bench.chaos._faults import FAULTS, Fault
from collage.bench.chaos._journal import ChaosJournal
from collage.bench.chaos._overload import run_overload
from collage.bench.chaos._run import run_fault
from collage.bench.chaos._settings import ChaosSettings, FuzzSettings
from collage.bench.chaos._soak import run_soak
from collage.bench.chaos._stage import Layout, open_stage
from collage.bench.chaos.fuzz import FuzzChunk, fuzz_plan, run_fuzz
from collage.exceptions import SettingsError

Part = Literal["faults", "overload", "soak", "fuzz"]
PARTS: tuple[Part, ...] = ("faults", "overload", "soak", "fuzz")
_FUZZ_RATE = 150.0  # inputs a second, as a guess of how long fuzzing takes


class ChaosStep(NamedTuple):
    """How far a run is, in seconds of load."""

    what: str
    done: float
    total: float


def chosen(settings: ChaosSettings) -> list[Fault]:
    """The faults that the settings name, in the table's order. Raises SettingsError for one that is none."""
    for name in settings.faults:
        if name not in FAULTS:
            raise SettingsError(f"faults: {name!r} is none; there are {', '.join(FAULTS)}")
    return [fault for fault in FAULTS.values() if not settings.faults or fault.name in settings.faults]


def seconds_of(settings: ChaosSettings, parts: Sequence[Part] = PARTS) -> float:
    """Of load in all; processes that start come on top."""
    total = 0.0
    if "faults" in parts:
        total += len(chosen(settings)) * settings.seconds_each
    if "overload" in parts and settings.overload is not None:
        total += settings.overload.seconds + 2 * settings.overload.capacity_seconds
    if "soak" in parts and settings.soak is not None:
        total += settings.soak.seconds
    if "fuzz" in parts and settings.fuzz is not None:
        total += sum(chunk.inputs for chunk in fuzz_plan(settings.fuzz)) / _FUZZ_RATE
    return total


async def run_chaos(
    settings: ChaosSettings,
    journal: ChaosJournal,
    folder: Path,
    on_step: Callable[[ChaosStep], None],
    parts: Sequence[Part] = PARTS,
) -> None:
    """Run what the journal does not hold yet; each part is added to it as it ends. A soak that is stopped begins again.

    Raises SettingsError and ModelError for what cannot be run.
    """
    total, done = seconds_of(settings, parts), 0.0
    faults = chosen(settings) if "faults" in parts else []
    done += settings.seconds_each * sum(fault.name in journal.faults for fault in faults)
    for layout in Layout:
        left = [fault for fault in faults if fault.layout is layout and fault.name not in journal.faults]
        if not left:
            continue
        async with open_stage(settings, layout, folder) as stage:
            for fault in left:
                on_step(ChaosStep(fault.name, done, total))
                journal.add(await run_fault(settings, fault, stage))
                done += settings.seconds_each
    if "overload" in parts and settings.overload is not None:
        before, done = done, done + settings.overload.seconds + 2 * settings.overload.capacity_seconds
        if journal.overload is None:
            on_step(ChaosStep("overload", before, total))
            journal.add(
                await run_overload(
                    settings,
                    settings.overload,
                    folder,
                    lambda seconds: on_step(ChaosStep("overload", before + seconds, total)),
                )
            )
    if "soak" in parts and settings.soak is not None and journal.soak is None:
        on_step(ChaosStep("soak", done, total))
        result = await run_soak(
            settings, settings.soak, folder, lambda seconds: on_step(ChaosStep("soak", done + seconds, total))
        )
        journal.add(result)
        done += settings.soak.seconds
    if "fuzz" in parts and settings.fuzz is not None:
        await _fuzz(settings, settings.fuzz, journal, folder, lambda what, left: on_step(_left(what, left, total)))
    on_step(ChaosStep("done", total, total))


def _left(what: str, inputs: int, total: float) -> ChaosStep:
    return ChaosStep(what, total - inputs / _FUZZ_RATE, total)


async def _fuzz(
    settings: ChaosSettings,
    fuzz: FuzzSettings,
    journal: ChaosJournal,
    folder: Path,
    on_left: Callable[[str, int], None],
) -> None:
    """on_left: called with the next target, and how many inputs are left."""
    chunks = [chunk for chunk in fuzz_plan(fuzz) if chunk.key not in journal.fuzz]
    left = sum(chunk.inputs for chunk in chunks)
    coming = iter([*(chunk.target for chunk in chunks[1:]), "done"])

    def on_chunk(chunk: FuzzChunk) -> None:
        nonlocal left
        journal.add(chunk)
        left -= chunk.inputs
        on_left(next(coming), left)

    if chunks:
        on_left(chunks[0].target, left)
        await run_fuzz(settings, fuzz, chunks, folder / "fuzz", on_chunk)
