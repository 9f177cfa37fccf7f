"""What backups cost when every call costs something beside its model: the time of a call, against a fixed overhead.

Measured is what a call takes as serving makes it (encode, run, decode; ONNX Runtime, one thread), models in turn so
that drift hits all alike, and what a call costs the local engine beside that. The rest is arithmetic: a call of t
seconds at an overhead of h that answers m queries costs (t + h) / m for each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from collage.codes import make_code
from collage.dispatch import JobId, Role, WorkerId
from collage.engines import LocalEngine, Submission
from collage.exceptions import ModelError
from collage.files import load_toml
from collage.zoo import LoadedModel, check_bound, load_model, open_session

FloatArray = NDArray[np.float32]
_WARMUP = 10
_ALONE = (Role.SINGLE, Role.COLLAGE, Role.BATCH, Role.CHEAP)  # whose answers need no other query's


class OverheadSettings(BaseModel):
    """One experiment, as its TOML file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    single: str
    backups: list[str] = Field(min_length=1, description="collages, batches, cheap singles: shipped names or paths")
    rounds: int = Field(default=300, ge=10, description="in each, every call is measured once")
    most: float = Field(default=0.02, gt=0, le=10, description="the largest overhead of a call that is shown, seconds")


@dataclass(frozen=True)
class CallTime:
    """What a call of a model takes when it answers `fill` queries: median and quartiles, seconds."""

    model: LoadedModel
    fill: int
    low: float
    median: float
    high: float

    def cost(self, overhead: float, wanted: int) -> float:
        """Worker seconds for `wanted` answers, at most `fill` from a call."""
        return -(-wanted // self.fill) * (self.median + overhead)


@dataclass(frozen=True)
class OverheadResult:
    """calls: the single first; a collage's or a cheap single's once, a batch's for every fill. engine: seconds that a
    call costs the local engine beside the worker's own, median."""

    calls: list[CallTime]
    engine: float

    def full(self) -> list[CallTime]:
        """One a model: its fullest."""
        return list({call.model.card.name: call for call in self.calls}.values())

    def of(self, model: LoadedModel, fill: int) -> CallTime:
        """The smallest measured call of the model that holds `fill` queries, or its fullest."""
        own = [call for call in self.calls if call.model == model]
        return next((call for call in own if call.fill >= fill), own[-1])


def load_overhead(path: Path) -> OverheadSettings:
    """An experiment's file. Raises SettingsError, one line that names the key."""
    return load_toml(path, OverheadSettings)


def measure_overhead(
    settings: OverheadSettings, progress: Callable[[float], None] = lambda share: None
) -> OverheadResult:
    """Measure all calls. `progress` is told the share done, 0..1.

    Raises ModelError for a model that is missing, no partner of the single, or of a code whose answers need others.
    """
    single = load_model(settings.single)
    backups = [load_model(name) for name in settings.backups]
    for backup in backups:
        check_bound(single, backup)
        if backup.card.role not in _ALONE:
            raise ModelError(f"{backup.card.name}: is a {backup.card.role}; collages, batches and cheaps are compared")
    fills: list[tuple[LoadedModel, int]] = [(single, 1)]
    for backup in backups:
        batch, n = backup.card.role is Role.BATCH, backup.card.capacity
        fills += [(backup, fill) for fill in (range(1, n + 1) if batch else [n])]
    calls = [_call(model, fill) for model, fill in fills]
    seconds = np.empty((settings.rounds, len(calls)))
    for turn in range(-_WARMUP, settings.rounds):
        for column, call in enumerate(calls):
            began = time.perf_counter()
            call()
            seconds[max(turn, 0), column] = time.perf_counter() - began
        progress(max(0.0, (turn + 1) / settings.rounds))
    quartiles = np.quantile(seconds, [0.25, 0.5, 0.75], axis=0).T  # (calls, 3)
    found = [CallTime(model, fill, *map(float, row)) for (model, fill), row in zip(fills, quartiles, strict=True)]
    return OverheadResult(found, asyncio.run(_engine_overhead(single, settings.rounds)))


def break_even(one: CallTime, other: CallTime) -> float | None:
    """The overhead, seconds, from which full calls of `one` cost less for each query than those of `other`.

    0 where they always do; None where there is none, since `one` answers no more queries in a call.
    """
    if one.median / one.fill <= other.median / other.fill:
        return 0.0 if one.fill >= other.fill else None
    if one.fill <= other.fill:
        return None
    gain = 1 / other.fill - 1 / one.fill
    return (one.median / one.fill - other.median / other.fill) / gain


def _call(model: LoadedModel, fill: int) -> Callable[[], object]:
    code, session = make_code(model.card, model.path.parent), open_session(model.path)
    name, rng = session.get_inputs()[0].name, np.random.default_rng(0)
    images = [rng.normal(size=code.input_shape).astype(np.float32) for _ in range(fill)]
    return lambda: code.decode(session.run(None, {name: code.encode(images)})[0], range(fill), {})


class _Listener:
    """Hears of one job at a time."""

    def __init__(self) -> None:
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        """It is there when `start` returns."""

    def worker_down(self, worker: WorkerId, why: str) -> None:
        """Nothing can be measured any more."""
        self._fail(f"{worker} is down: {why}")

    def job_completed(self, job: JobId, output: FloatArray, seconds: float) -> None:
        """The worker's own seconds."""
        self.done.set_result(seconds)

    def job_failed(self, job: JobId, why: str) -> None:
        """The model does not run."""
        self._fail(why)

    def job_freed(self, job: JobId) -> None:
        """Nothing is cancelled here."""

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(ModelError(why))


async def _engine_overhead(single: LoadedModel, rounds: int) -> float:
    code = make_code(single.card)
    inputs = code.encode([np.zeros(code.input_shape, np.float32)])
    listener = _Listener()
    engine = LocalEngine({Role.SINGLE: single.path}, {"w0": frozenset({Role.SINGLE})})
    await engine.start(listener)
    beside: list[float] = []
    try:
        for job in range(rounds):
            listener.done = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            engine.submit(Submission(job, "w0", Role.SINGLE, inputs))
            own = await listener.done
            beside.append(time.perf_counter() - began - own)
    finally:
        await engine.stop()
    return float(np.median(beside))


def sweep(most: float, points: int = 81) -> Sequence[float]:
    """Overheads from 0 to `most`, seconds."""
    return [float(value) for value in np.linspace(0.0, most, points)]
