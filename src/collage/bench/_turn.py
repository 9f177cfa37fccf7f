"""One turn: real load through a fresh data plane, on worker processes that were there before."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import numpy as np

from collage.bench._bursts import bursts
from collage.bench._hog import hogging_workers
from collage.bench._journal import TurnResult
from collage.bench._load import OpenLoop
from collage.bench._machine import cores, cpu_seconds
from collage.bench._padding import Padding
from collage.bench._plan import Turn, generator, traffic
from collage.bench._plane import Work, open_plane, work
from collage.bench._rival import HedgingClient
from collage.bench._settings import REALLY, RIVALS, BenchSettings, Limits
from collage.bench._stage import Stage
from collage.bench._stopper import stopping_workers
from collage.bench._turn_engine import TurnEngine
from collage.dispatch import worker_roles
from collage.exceptions import Unavailable
from collage.serving import Classified, Encoded


async def take_turn(
    turn: Turn, settings: BenchSettings, stage: Stage, on_sent: Callable[[float], None] = lambda at: None
) -> TurnResult:
    """Run one turn, whatever it does to the machine. `on_sent` is told each request's arrival, seconds."""
    sent = traffic(settings, turn, len(stage.images))
    times = settings.service_times(turn.straggler)
    below = stage.workers_of(turn.straggler)
    padding = Padding(times, stage.costs, below.workers, generator(settings, turn, "times"))
    policy, rate = settings.policy(turn.policy), settings.rate(*turn.cell)
    roles = worker_roles(policy, list(below.workers))
    # What is really slow overruns its draw because it is to.
    slack = math.inf if turn.straggler in REALLY else settings.limits.tolerance * times.mean
    engine = TurnEngine(below, roles, padding, slack)
    plane = open_plane(turn.policy, settings, stage, engine)
    rival = HedgingClient(plane, stage.images.files, policy, rate) if turn.policy in RIVALS else None
    answers: list[Classified | None] = [None] * len(sent.arrivals)
    before = Work(0.0, 0.0, 0)

    async def send(index: int) -> bool:
        try:
            image = sent.images[index]
            if rival is not None:
                answers[index] = await rival.classify(image)
            else:
                (answers[index],) = await plane.classify([Encoded(stage.images.files[image])])
        except Unavailable:
            return False
        return True

    def spent_so_far() -> Work:
        return work(plane) if rival is None else rival.work()

    def begin(index: int) -> None:
        nonlocal before
        if index == settings.warmup:
            before = spent_so_far()
        on_sent(float(sent.arrivals[index]))

    load = OpenLoop(sent.arrivals, send)
    await plane.start()
    try:
        workers = below.workers
        began, cpu = time.monotonic(), cpu_seconds(workers.values())
        async with _really_slow(turn, settings, stage):
            await load.run(begin)
        seconds, cpu_after = time.monotonic() - began, cpu_seconds(below.workers.values())
        same = workers == below.workers
        await engine.idle()  # the last losers are work, too
    finally:
        if rival is not None:
            await rival.close()
        await plane.stop()
    spent = spent_so_far().since(before)
    # A worker that was started again has begun to count again.
    share = None if cpu is None or cpu_after is None or not same else (cpu_after - cpu) / seconds / cores()
    counted = slice(settings.warmup, None)
    given = [
        (answer, image)
        for answer, image in zip(answers[counted], sent.images[counted], strict=True)
        if answer is not None
    ]
    latencies = load.latencies[counted]
    return TurnResult(
        turn=turn,
        latencies=np.round(latencies[~np.isnan(latencies)], 6).tolist(),
        sources=dict(Counter(answer.source.value for answer, _ in given)),
        right=sum(answer.index == stage.images.labels[image] for answer, image in given),
        single_right=sum(bool(stage.images.right[image]) for _, image in given),
        failed=len(latencies) - len(given),
        single_seconds=spent.single_seconds,
        extra_seconds=spent.extra_seconds,
        backups_sent=spent.backups_sent,
        jobs=engine.jobs,
        overruns=engine.overruns,
        lateness_p99=float(np.quantile(load.lateness[counted], 0.99)),
        lateness_max=float(load.lateness[counted].max()),
        cpu_share=share,
        seconds=seconds,
    )


def _really_slow(turn: Turn, settings: BenchSettings, stage: Stage) -> AbstractAsyncContextManager[None]:
    """What makes workers slow beside the draws."""
    times, rng = settings.times, generator(settings, turn, "stops")
    normal = times.normal_seconds * times.scale
    if turn.straggler == "stopped":
        return stopping_workers(lambda: stage.local.workers, rng, normal, times.stopped_seconds * times.scale)
    if turn.straggler == "hogged":
        slow = times.hogged_seconds * times.scale
        return hogging_workers(lambda: stage.local.workers, rng, normal, slow, times.hogs)
    if turn.straggler == "delayed":
        linked, slow, delay = stage.linked, times.delayed_seconds * times.scale, times.delay * times.scale
        assert linked is not None
        return bursts(list(linked.workers), rng, normal, slow, lambda worker: linked.slow(worker, delay))
    return nullcontext()


def beyond_limits(result: TurnResult, limits: Limits) -> str:
    """Why a turn's figures would be the machine's own and not the policy's; empty where they are not."""
    if result.cpu_share is not None and result.cpu_share > limits.cpu_share:
        return f"{result.cpu_share:.0%} of the cores were busy (limits.cpu_share: {limits.cpu_share:.0%})"
    overruns = result.overruns / max(1, result.jobs)
    if overruns > limits.overruns:
        return f"{overruns:.1%} of the jobs were held up by the machine (limits.overruns: {limits.overruns:.1%})"
    return ""
