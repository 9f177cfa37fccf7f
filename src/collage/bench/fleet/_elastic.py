"""A load that doubles and halves, and a gateway whose workers follow it: real processes, padded service times."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collage.bench._load import OpenLoop
from collage.bench._machine import describe_machine
from collage.exceptions import CollageError
from collage.serving import DataPlane, Encoded, load_settings
from collage.zoo import sample_images

_SPREAD = 0.3  # sigma of a job's padded time, of its logarithm
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class ElasticPlan:
    """steps: load as a multiple of the first, one after the other, `step_seconds` each."""

    steps: tuple[float, ...] = (1.0, 2.0, 1.0, 0.5, 1.0)
    step_seconds: float = 60.0
    load: float = 1.5  # workers that singles keep busy in the first step
    job_seconds: float = 0.25  # that a worker holds a job for, in the mean
    least: int = 1
    most: int = 8
    target: float = 0.6
    down_seconds: float = 20.0
    policy: str = "collage"
    seed: int = 0


class Moment(NamedTuple):
    """One look. load: workers that the singles then arriving keep busy; demand: as the autoscaler measures it."""

    seconds: float
    load: float
    demand: float | None
    workers_up: int
    workers_there: int
    draining: int
    waiting: int


@dataclass(frozen=True)
class ElasticResult:
    """What came of it. latencies: (n,) seconds, NaN where a query had no answer; arrivals: (n,) seconds."""

    plan: ElasticPlan
    moments: list[Moment]
    arrivals: NDArray[np.float64]
    latencies: NDArray[np.float64]
    refused: dict[str, int]  # by reason
    start_up_seconds: float
    workers_lost: int


def run_elastic(plan: ElasticPlan, told: Callable[[float], None] = lambda share: None) -> ElasticResult:
    """Run it, in the plan's own time. told: the share done, 0..1."""
    return asyncio.run(_run(plan, told))


async def _run(plan: ElasticPlan, told: Callable[[float], None]) -> ElasticResult:
    rng = np.random.default_rng(plan.seed)
    arrivals = _arrivals(plan, rng)
    draw = random.Random(plan.seed)
    scale = plan.job_seconds / float(np.exp(_SPREAD**2 / 2))
    settings = load_settings(
        workers=max(plan.least, min(plan.most, round(plan.load / plan.target))),
        min_workers=plan.least,
        max_workers=plan.most,
        target_utilisation=plan.target,
        scale_down_seconds=plan.down_seconds,
        policy=plan.policy,
        max_queue=10_000,
    )
    plane = DataPlane(settings, hold=lambda *_: scale * draw.lognormvariate(0.0, _SPREAD))
    images = [sample.path.read_bytes() for sample in sample_images()]
    refused: dict[str, int] = {}

    async def send(index: int) -> bool:
        try:
            await plane.classify([Encoded(images[index % len(images)])], deadline=60.0)
        except CollageError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
            return False
        return True

    await plane.start()
    try:
        moments: list[Moment] = []
        watching = asyncio.create_task(_watch(plane, plan, moments, told))
        load = OpenLoop(arrivals, send)
        await load.run()
        await watching
        scaler = plane.autoscaler
        assert scaler is not None
        lost = plane.dispatcher.stats.workers_lost
        return ElasticResult(plan, moments, arrivals, load.latencies, refused, scaler.start_up, lost)
    finally:
        await plane.stop()


def _arrivals(plan: ElasticPlan, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n,) seconds: Poisson, with the rate of each step."""
    parts = []
    for number, factor in enumerate(plan.steps):
        rate = plan.load * factor / plan.job_seconds
        count = rng.poisson(rate * plan.step_seconds)
        parts.append(np.sort(rng.uniform(0.0, plan.step_seconds, count)) + number * plan.step_seconds)
    return np.concatenate(parts)


async def _watch(plane: DataPlane, plan: ElasticPlan, moments: list[Moment], told: Callable[[float], None]) -> None:
    began, whole = time.monotonic(), len(plan.steps) * plan.step_seconds
    scaler, roster = plane.autoscaler, plane.roster
    assert scaler is not None
    assert roster is not None
    now = 0.0
    while now < whole:
        now = time.monotonic() - began
        step = min(int(now / plan.step_seconds), len(plan.steps) - 1)
        view = plane.view()
        up = [worker for worker in view.workers if worker.state != "draining"]
        there = len(roster.there)
        load = plan.load * plan.steps[step]
        draining = len(view.workers) - len(up)
        moments.append(Moment(round(now, 2), load, scaler.demand, len(up), there, draining, view.waiting))
        told(min(1.0, now / whole))
        await asyncio.sleep(_LOOK_SECONDS)


def write_elastic(result: ElasticResult, folder: Path, command: str) -> list[Path]:
    """elastic.csv, elastic.json and elastic.png."""
    folder.mkdir(parents=True, exist_ok=True)
    table, numbers, picture = (folder / f"elastic.{end}" for end in ("csv", "json", "png"))
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Moment._fields)
        writer.writerows(
            [f"{value:.3f}" if isinstance(value, float) else value for value in moment] for moment in result.moments
        )
    numbers.write_text(json.dumps(summarise_elastic(result) | {"command": command}, indent=1) + "\n")
    _draw(result).savefig(picture, dpi=150)
    return [table, numbers, picture]


def summarise_elastic(result: ElasticResult) -> dict[str, Any]:
    """Queries, lost ones, latency and workers by step, and how many workers there were in the mean."""
    plan = result.plan
    answered = ~np.isnan(result.latencies)
    steps = []
    for number, factor in enumerate(plan.steps):
        began, ends = number * plan.step_seconds, (number + 1) * plan.step_seconds
        here = (result.arrivals >= began) & (result.arrivals < ends)
        own = result.latencies[here & answered]
        later = [
            moment.workers_up for moment in result.moments if began + plan.step_seconds / 2 <= moment.seconds < ends
        ]
        steps.append(
            {
                "load": plan.load * factor,
                "queries": int(here.sum()),
                "lost": int((here & ~answered).sum()),
                "p50_ms": _ms(own, 0.5),
                "p99_ms": _ms(own, 0.99),
                "workers_in_second_half": round(sum(later) / len(later), 2) if later else None,
            }
        )
    spent = sum(moment.workers_up + moment.draining for moment in result.moments) / max(1, len(result.moments))
    return {
        "requests": len(result.latencies),
        "lost": int((~answered).sum()),
        "why_lost": result.refused,
        "workers_least": min(moment.workers_up for moment in result.moments),
        "workers_most": max(moment.workers_up for moment in result.moments),
        "workers_mean": round(spent, 2),
        "workers_lost": result.workers_lost,
        "start_up_seconds": round(result.start_up_seconds, 2),
        "steps": steps,
        "plan": asdict(plan),
        "machine": describe_machine(),
    }


def _ms(seconds: Sequence[float] | NDArray[np.float64], quantile: float) -> float | None:
    return round(float(np.quantile(seconds, quantile)) * 1e3, 1) if len(seconds) else None


def _draw(result: ElasticResult) -> Any:
    """Workers against load, and the latency of each query below."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, which only the picture needs

    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    seconds = [moment.seconds for moment in result.moments]
    ideal = [moment.load / result.plan.target for moment in result.moments]
    above.step(seconds, [moment.load for moment in result.moments], where="post", color="#808080", label="load")
    above.step(seconds, ideal, where="post", color="#808080", linestyle=":", label="load / target")
    there = [moment.workers_there for moment in result.moments]
    above.step(seconds, there, where="post", color="#0072b2", linestyle="--", label="workers, with those that start")
    above.step(
        seconds, [moment.workers_up for moment in result.moments], where="post", color="#0072b2", label="workers"
    )
    above.set_ylabel("workers")
    above.set_ylim(bottom=0)
    above.legend(frameon=False, ncols=2, fontsize=8)
    below.scatter(result.arrivals, result.latencies * 1e3, s=3, color="#d55e00", linewidths=0)
    below.set_yscale("log")
    below.set_ylabel("latency, ms")
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
