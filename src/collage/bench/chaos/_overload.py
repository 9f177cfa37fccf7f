"""Several times more than the fleet can do: what it still does, what it refuses and how soon, and what it keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from collage.bench._http import HttpPool
from collage.bench._load import OpenLoop
from collage.bench.chaos._faults import beside
from collage.bench.chaos._gateway import held
from collage.bench.chaos._ledger import Ledger, Outcome
from collage.bench.chaos._run import poisson
from collage.bench.chaos._settings import ChaosSettings, OverloadSettings
from collage.bench.chaos._stage import Layout, Stage, open_stage

_LOOK_SECONDS = 0.5  # between two looks at the gateway's memory
_USUAL_SHARE = 0.5  # of the capacity, for what redundancy costs before
_MOST_CLOSED = 1_000_000


class OverloadResult(BaseModel):
    """Seconds, bytes, queries per second; `share`s are fractions."""

    model_config = ConfigDict(extra="forbid")

    capacity: float = Field(description="answers per second of a closed loop with twice as many clients as workers")
    offered: float
    seconds: float
    requests: int
    goodput: float = Field(description="right answers per second, within the deadline")
    goodput_share: float = Field(description="of the capacity")
    refused_share: float
    refused_p50: float = Field(description="from sending to the 503")
    refused_p99: float
    answered_p50: float
    answered_p99: float
    deadline: float
    late_share: float = Field(description="of the accepted: a 504, or an answer after the deadline")
    lost: int
    double: int
    swapped: int
    memory_before: int
    memory_most: int
    extra_work_before: float = Field(description="at half the capacity")
    extra_work_during: float


async def run_overload(
    settings: ChaosSettings, overload: OverloadSettings, folder: Path, on_step: Callable[[float], None]
) -> OverloadResult:
    """on_step: told of the seconds that are done."""
    async with open_stage(settings, Layout.POOL, folder, max_queue=overload.queue, max_images=1) as stage:
        capacity = await _capacity(settings, overload, stage)
        on_step(overload.capacity_seconds)
        usual = await _load(settings, overload, stage, _USUAL_SHARE * capacity, overload.capacity_seconds)
        on_step(2 * overload.capacity_seconds)
        memory, most = held(stage.gateway.pid)["memory"], [0]

        async def watch() -> None:
            while True:
                most[0] = max(most[0], held(stage.gateway.pid)["memory"])
                await asyncio.sleep(_LOOK_SECONDS)

        async with beside(watch()):
            over = await _load(settings, overload, stage, overload.times * capacity, overload.seconds)
        on_step(2 * overload.capacity_seconds + overload.seconds)
        ledger, seconds = over.ledger, over.ledger.seconds
        answered = seconds[ledger.outcomes == Outcome.ANSWERED]
        refused = seconds[ledger.outcomes == Outcome.REFUSED]
        good = int((answered <= overload.deadline).sum())
        accepted = len(answered) + ledger.count(Outcome.LATE)
        return OverloadResult(
            capacity=capacity,
            offered=overload.times * capacity,
            seconds=over.lasted,
            requests=len(seconds),
            goodput=good / over.lasted,
            goodput_share=good / over.lasted / capacity,
            refused_share=len(refused) / len(seconds),
            refused_p50=_quantile(refused, 0.5),
            refused_p99=_quantile(refused, 0.99),
            answered_p50=_quantile(answered, 0.5),
            answered_p99=_quantile(answered, 0.99),
            deadline=overload.deadline,
            late_share=1 - good / accepted if accepted else 0.0,
            lost=ledger.count(Outcome.LOST) + ledger.count(Outcome.PENDING),
            double=over.pool.unsolicited,
            swapped=ledger.count(Outcome.SWAPPED),
            memory_before=memory,
            memory_most=most[0],
            extra_work_before=usual.extra_work,
            extra_work_during=over.extra_work,
        )


class _Load:
    """One open-loop load and what it did."""

    def __init__(self, pool: HttpPool, ledger: Ledger) -> None:
        self.pool = pool
        self.ledger = ledger
        self.lasted = 0.0
        self.extra_work = 0.0


async def _load(
    settings: ChaosSettings, overload: OverloadSettings, stage: Stage, rate: float, seconds: float
) -> _Load:
    arrivals = poisson(settings, rate, seconds, f"overload-{rate:.0f}")
    pool = HttpPool(stage.gateway.host, stage.gateway.port)
    done = _Load(pool, Ledger(len(arrivals), pool, deadline=overload.deadline))
    single, extra = await _work(stage)
    began = time.monotonic()
    try:
        await OpenLoop(arrivals, done.ledger.send).run()
        done.lasted = time.monotonic() - began
        after_single, after_extra = await _work(stage)
    finally:
        await pool.close()
    done.extra_work = (after_extra - extra) / max(after_single - single, 1e-9)
    return done


async def _work(stage: Stage) -> tuple[float, float]:
    """Worker-seconds of singles, and of everything else, so far."""
    single = await stage.gateway.total("collage_single_work_seconds_total")
    return single, await stage.gateway.total("collage_extra_work_seconds_total")


async def _capacity(settings: ChaosSettings, overload: OverloadSettings, stage: Stage) -> float:
    """Answers per second, where each client asks again as soon as it is answered."""
    pool = HttpPool(stage.gateway.host, stage.gateway.port)
    ledger = Ledger(_MOST_CLOSED, pool, deadline=settings.deadline)
    until, sent = time.monotonic() + overload.capacity_seconds, 0

    async def client() -> None:
        nonlocal sent
        while time.monotonic() < until:
            sent += 1
            await ledger.send(sent - 1)

    try:
        await asyncio.gather(*(client() for _ in range(2 * settings.workers)))
    finally:
        await pool.close()
    return ledger.count(Outcome.ANSWERED) / overload.capacity_seconds


def _quantile(values: np.ndarray[tuple[int], np.dtype[np.float64]], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0
