"""What fuzzing found: a part of one target's inputs, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from collage.bench.chaos._settings import FuzzSettings


class FuzzChunk(BaseModel):
    """Some inputs of one target. Memory in bytes."""

    model_config = ConfigDict(extra="forbid")

    target: str
    seed: int
    first: int = Field(description="number of the first input")
    inputs: int
    accepted: int = Field(default=0, description="taken; the others were refused as they should be")
    escaped: int = Field(default=0, description="refused by an error that was not meant for it")
    server_errors: int = Field(default=0, description="answered 5xx, but for an honest 503 or 504; gRPC's UNKNOWN, ...")
    unavailable: int = Field(default=0, description="answered 503 or 504 with Retry-After, or gRPC's words for them")
    undescribed: int = Field(default=0, description="answered by a status that the HTTP description does not have")
    crashes: int = 0
    hangs: int = 0
    wrong_neighbours: int = Field(default=0, description="others' queries that were not answered rightly meanwhile")
    neighbours: int = Field(default=0, description="others' queries meanwhile")
    tracebacks: int = Field(default=0, description="in the gateway's log")
    memory_before: int = Field(default=0, description="once warm")
    memory_after: int = 0

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What a journal knows it by."""
        return self.target, self.seed, self.first, self.inputs


class FuzzTarget(BaseModel):
    """All inputs of one target."""

    model_config = ConfigDict(extra="forbid")

    inputs: int
    accepted: int
    escaped: int
    server_errors: int
    unavailable: int
    undescribed: int
    crashes: int
    hangs: int
    memory_growth: int = Field(description="bytes: from the first part's start, once warm, to the last one's end")


class FuzzResult(BaseModel):
    """All targets."""

    model_config = ConfigDict(extra="forbid")

    inputs: int
    server_errors: int
    crashes: int
    hangs: int
    escaped: int
    undescribed: int
    unavailable: int
    neighbours: int
    wrong_neighbours: int
    tracebacks: int
    memory_growth: int = Field(description="bytes, of the target where it is largest")
    seed: int
    targets: dict[str, FuzzTarget]

    @property
    def clean(self) -> bool:
        """Whether nothing was found that should not be. Memory is for people to judge."""
        found = self.server_errors + self.crashes + self.hangs + self.escaped + self.undescribed
        return not found + self.wrong_neighbours + self.tracebacks


def plan(fuzz: FuzzSettings, live: Sequence[str], inside: Sequence[str]) -> list[FuzzChunk]:
    """Everything that is to be run, empty: the targets inside first, then the live ones, each in parts."""
    found = []
    counts = fuzz.inputs_live | dict.fromkeys(inside, fuzz.inputs_inside)
    for name in (*inside, *live):
        count = counts.get(name, 0)
        found += [
            FuzzChunk(target=name, seed=fuzz.seed, first=first, inputs=min(fuzz.chunk, count - first))
            for first in range(0, count, fuzz.chunk)
        ]
    return found


def summed(chunks: Iterable[FuzzChunk]) -> FuzzResult | None:
    """All parts together; None where there are none."""
    by_target: dict[str, list[FuzzChunk]] = {}
    for chunk in chunks:
        by_target.setdefault(chunk.target, []).append(chunk)
    if not by_target:
        return None
    everything = [chunk for part in by_target.values() for chunk in part]
    targets = {name: _target(sorted(part, key=lambda chunk: chunk.first)) for name, part in by_target.items()}
    return FuzzResult(
        seed=everything[0].seed,
        targets=targets,
        memory_growth=max(target.memory_growth for target in targets.values()),
        **{
            name: sum(getattr(chunk, name) for chunk in everything)
            for name in FuzzResult.model_fields
            if name not in ("seed", "targets", "memory_growth")
        },
    )


def _target(chunks: Sequence[FuzzChunk]) -> FuzzTarget:
    counted = {
        name: sum(getattr(chunk, name) for chunk in chunks)
        for name in FuzzTarget.model_fields
        if name != "memory_growth"
    }
    growth = max(chunk.memory_after - chunk.memory_before for chunk in chunks)
    growth = max(growth, chunks[-1].memory_after - chunks[0].memory_before)
    return FuzzTarget(memory_growth=growth, **counted)
