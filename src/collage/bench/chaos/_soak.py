"""One steady load for long: whether anything grows that should not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from collage.bench._http import HttpPool
from collage.bench._load import OpenLoop
from collage.bench.chaos._faults import beside
from collage.bench.chaos._gateway import held
from collage.bench.chaos._ledger import Ledger, Outcome
from collage.bench.chaos._run import poisson
from collage.bench.chaos._settings import ChaosSettings, SoakSettings
from collage.bench.chaos._stage import Layout, open_stage

WATCHED = ("memory", "descriptors", "groups", "tasks")


class Trend(BaseModel):
    """A line through the samples, after settling. Bytes, or numbers."""

    model_config = ConfigDict(extra="forbid")

    first: float
    last: float
    most: float
    slope_per_hour: float
    slope_error: float = Field(description="standard error of the slope, per hour")


class SoakResult(BaseModel):
    """Seconds."""

    model_config = ConfigDict(extra="forbid")

    load: float
    seconds: float
    requests: int
    lost: int
    double: int
    swapped: int
    refused: int
    late: int
    degraded: int
    p50: float
    p99: float
    p99_first_tenth: float
    p99_last_tenth: float
    memory: Trend
    descriptors: Trend
    groups: Trend
    tasks: Trend


async def run_soak(
    settings: ChaosSettings, soak: SoakSettings, folder: Path, on_step: Callable[[float], None]
) -> SoakResult:
    """on_step: told of the seconds that are done. What was seen is in `folder`/soak.csv as it comes."""
    arrivals = poisson(settings, soak.load * settings.capacity, soak.seconds, "soak")
    samples: list[dict[str, float]] = []
    async with open_stage(settings, Layout.POOL, folder) as stage:
        pool = HttpPool(stage.gateway.host, stage.gateway.port)
        ledger = Ledger(len(arrivals), pool, deadline=settings.deadline)
        began = time.monotonic()

        async def watch() -> None:
            with (folder / "soak.csv").open("w", encoding="utf-8") as file:
                file.write(",".join(("seconds", *WATCHED)) + "\n")
                while True:
                    sample = held(stage.gateway.pid) | await stage.gateway.tell("inside")
                    seconds = time.monotonic() - began
                    samples.append({"seconds": seconds} | {name: float(sample[name]) for name in WATCHED})
                    file.write(",".join(f"{value:g}" for value in samples[-1].values()) + "\n")
                    file.flush()
                    on_step(min(seconds, soak.seconds))
                    await asyncio.sleep(soak.sample_seconds)

        load = OpenLoop(arrivals, ledger.send)
        try:
            async with beside(watch()):
                await load.run()
        finally:
            await pool.close()
        on_step(soak.seconds)
    counted = load.latencies[np.isfinite(load.latencies)]
    tenth = len(load.latencies) // 10
    return SoakResult(
        load=soak.load,
        seconds=soak.seconds,
        requests=len(arrivals),
        lost=ledger.count(Outcome.LOST) + ledger.count(Outcome.PENDING),
        double=pool.unsolicited,
        swapped=ledger.count(Outcome.SWAPPED),
        refused=ledger.count(Outcome.REFUSED),
        late=ledger.count(Outcome.LATE),
        degraded=int(ledger.degraded.sum()),
        p50=float(np.median(counted)),
        p99=float(np.quantile(counted, 0.99)),
        p99_first_tenth=float(np.nanquantile(load.latencies[:tenth], 0.99)),
        p99_last_tenth=float(np.nanquantile(load.latencies[-tenth:], 0.99)),
        **{name: trend(samples, name, soak.settle_seconds) for name in WATCHED},
    )


def trend(samples: Sequence[Mapping[str, float]], name: str, settle: float) -> Trend:
    """The line through samples that come after so many seconds; through all where fewer than three do."""
    kept = [sample for sample in samples if sample["seconds"] >= settle]
    kept = kept if len(kept) >= 3 else list(samples)
    hours = np.array([sample["seconds"] for sample in kept]) / 3600
    values = np.array([sample[name] for sample in kept])
    spread = float(((hours - hours.mean()) ** 2).sum())
    slope = float(((hours - hours.mean()) * (values - values.mean())).sum() / spread) if spread else 0.0
    rest = values - values.mean() - slope * (hours - hours.mean())
    error = float(np.sqrt((rest**2).sum() / max(len(kept) - 2, 1) / spread)) if spread else 0.0
    return Trend(
        first=float(values[0]),
        last=float(values[-1]),
        most=float(values.max()),
        slope_per_hour=slope,
        slope_error=error,
    )
