"""One fault's turn: the same load before it, with it and after it, and what came of every query."""

from __future__ import annotations

import asyncio
import contextlib
import time

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from collage.bench._http import HttpPool
from collage.bench._load import OpenLoop
from collage.bench.chaos._faults import Fault
from collage.bench.chaos._ledger import Ledger, Outcome, until
from collage.bench.chaos._settings import ChaosSettings
from collage.bench.chaos._stage import Stage

_SPARE = 32  # connections that are open beforehand, beyond those that the load needs on average


class FaultResult(BaseModel):
    """What one fault did. Seconds; requests are queries, of one image each."""

    model_config = ConfigDict(extra="forbid")

    fault: str
    requests: int
    lost: int = Field(description="without an answer, and without being told so")
    double: int = Field(description="answered twice: to the client, or by the gateway's own count")
    swapped: int = Field(description="given another image's answer")
    degraded: int = Field(description="answered by a backup")
    p99_before: float
    p99_during: float | None = Field(description="of those that were answered; None: none was")
    recovered_after_s: float | None = Field(
        description="from the fault's end to the first window whose p99 is normal; None: not within the load"
    )
    refused: int = Field(description="told at once that there is no answer here: 503, or no connection")
    late: int = Field(description="told at the deadline that there is no answer: 504")
    resent: int = Field(description="sent once more, because the kept connection had just been closed")
    p50_before: float
    fault_seconds: float
    troubles: dict[str, int] = Field(description="why queries were lost")


async def run_fault(settings: ChaosSettings, fault: Fault, stage: Stage, *, first: int = 0) -> FaultResult:
    """The load, and the fault in its midst. first: the number of the first query, as images are numbered."""
    arrivals = poisson(settings, settings.load * settings.capacity, settings.seconds_each, fault.name)
    pool = HttpPool(stage.gateway.host, stage.gateway.port)
    ledger = Ledger(len(arrivals), pool, deadline=settings.deadline, first=first)
    load = OpenLoop(arrivals, ledger.send)
    try:
        await pool.open(settings.workers + _SPARE)
        pid, given = stage.gateway.pid, await _answers(stage)
        began = time.monotonic()
        sending = asyncio.ensure_future(load.run())
        try:
            await until(began, settings.before_seconds)
            struck = time.monotonic() - began
            async with fault.strike(stage):
                await until(began, settings.before_seconds + settings.fault_seconds)
            healed = time.monotonic() - began
            await sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        double = pool.unsolicited
        if stage.gateway.pid == pid:  # a new process counts from 0
            await _settled(stage)
            double += max(
                0, await _answers(stage) - given - ledger.count(Outcome.ANSWERED) - ledger.count(Outcome.LOST)
            )
    finally:
        await pool.close()
    return _summarise(settings, fault.name, load, ledger, fault=(struck, healed), double=double)


def poisson(settings: ChaosSettings, rate: float, seconds: float, purpose: str) -> NDArray[np.float64]:
    """Poisson arrivals (n,), seconds, rising: the same for the same purpose."""
    rng = np.random.default_rng([settings.seed, *purpose.encode()])
    found = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.5) + 20))
    arrivals: NDArray[np.float64] = found[found < seconds]
    return arrivals


def _summarise(
    settings: ChaosSettings, name: str, load: OpenLoop, ledger: Ledger, *, fault: tuple[float, float], double: int
) -> FaultResult:
    """fault: when it began and ended, seconds of the load."""
    arrivals, latencies, (struck, healed) = load.arrivals, load.latencies, fault
    before = latencies[(arrivals >= settings.warm_seconds) & (arrivals < struck)]
    during = latencies[(arrivals >= struck) & (arrivals < healed)]
    usual = _p99(before)
    return FaultResult(
        fault=name,
        requests=len(arrivals),
        lost=ledger.count(Outcome.LOST) + ledger.count(Outcome.PENDING),
        double=double,
        swapped=ledger.count(Outcome.SWAPPED),
        degraded=int(ledger.degraded.sum()),
        p99_before=usual or 0.0,
        p99_during=_p99(during),
        recovered_after_s=recovered_after(
            arrivals, latencies, healed, window=settings.window_seconds, most=settings.normal * (usual or 0.0)
        ),
        refused=ledger.count(Outcome.REFUSED),
        late=ledger.count(Outcome.LATE),
        resent=ledger.resent,
        p50_before=float(np.nanmedian(before)) if np.isfinite(before).any() else 0.0,
        fault_seconds=healed - struck,
        troubles=ledger.troubles,
    )


def recovered_after(
    arrivals: NDArray[np.float64], latencies: NDArray[np.float64], healed: float, *, window: float, most: float
) -> float | None:
    """Seconds from `healed` until p99 is at most `most` for a whole window; a query without an answer is late.

    Windows begin every tenth of a second; one that the load does not fill says nothing.
    """
    taken = np.where(np.isnan(latencies), np.inf, latencies)
    last = arrivals[-1] - window if len(arrivals) else -np.inf
    for start in np.arange(healed, last, 0.1):
        inside = taken[(arrivals >= start) & (arrivals < start + window)]
        if len(inside) and np.quantile(inside, 0.99, method="lower") <= most:
            return float(start - healed)
    return None


def _p99(latencies: NDArray[np.float64]) -> float | None:
    answered = latencies[np.isfinite(latencies)]
    return float(np.quantile(answered, 0.99)) if len(answered) else None


async def _answers(stage: Stage) -> int:
    """Answers that the gateway has given, by its own count."""
    return int(await stage.gateway.total("collage_answers_total"))


async def _settled(stage: Stage) -> None:
    """Returns once the gateway holds no query any more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while (await stage.gateway.tell("inside"))["queries"]:
                await asyncio.sleep(0.05)
