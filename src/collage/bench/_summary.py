"""From turns to the rows of the result table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from collage.bench._journal import TurnResult
from collage.bench._plane import backup_source
from collage.bench._settings import BenchSettings, Straggler
from collage.dispatch import Role, Source
from collage.serving import ServingSettings

_RESAMPLES = 300
_LEVEL = 0.95
# Workers so busy work their queue off too slowly for a turn: how long a query waits tells how long the turn was.
_OVERLOADED = 0.95
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class Row(BaseModel):
    """One policy under one load and kind of straggler. Seconds and fractions; queries of a row are pooled over blocks.

    `p99_low` and the like: 95% interval from resampling whole blocks (bootstrap), because queries of one block are not
    independent. Warm-up is in no figure but `cpu_share` and `overrun_share`: of jobs that the machine held up, as
    `Limits` says.

    `overloaded`: the policy asks for so much of the workers' time, load x (1 + extra work), that its queue grows, or
    nearly, for as long as the load lasts. Its latencies are then those of a turn of this length, and of no other.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    metric: str
    policy: str
    code: str
    default: bool
    straggler: Straggler
    cancel: str
    load: float
    workers: int
    grid: int | None
    capacity: int
    requests: int
    seeds: list[int]
    mean: float
    std: float
    p50: float
    p99: float
    p999: float
    degraded_share: float
    extra_work: float
    a_o: float
    a_a: float
    overloaded: bool
    scale: float
    blocks: int
    failed: int
    p50_low: float
    p50_high: float
    p99_low: float
    p99_high: float
    p999_low: float
    p999_high: float
    backups_per_query: float
    cpu_share: float | None
    overrun_share: float
    lateness_p99: float


def interval(blocks: Sequence[NDArray[np.float64]], quantile: float, seed: int = 0) -> tuple[float, float]:
    """95% interval of a pooled quantile, by resampling blocks of latencies (n,) with replacement."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES):
        picked = rng.integers(len(blocks), size=len(blocks))
        found.append(np.quantile(np.concatenate([blocks[index] for index in picked]), quantile))
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def summarise(
    settings: BenchSettings,
    results: Iterable[TurnResult],
    *,
    grid: int | None,
    cancel: str,
    capacities: Mapping[Role, int] | None = None,
) -> list[Row]:
    """One row for every cell and policy that has a finished turn, in the experiment's order.

    grid: the collage's; capacities: queries that one job of a model can hold, where they are not the grid's or 1.
    """
    found: dict[tuple[Straggler, float, str], list[TurnResult]] = {}
    for result in sorted(results, key=lambda result: result.turn.block):
        turn = result.turn
        found.setdefault((turn.straggler, turn.load, turn.policy), []).append(result)
    order = [(s, load, p) for s in settings.stragglers for load in settings.loads for p in settings.policies]
    return [_row(settings, found[key], grid, cancel, capacities or {}) for key in order if key in found]


def _ours(settings: BenchSettings) -> str:
    """The policy that sentences are about: a gateway's default, or, where that is absent, `collage`."""
    usual: str = ServingSettings.model_fields["policy"].default
    return usual if usual in settings.policies else "collage"


def _row(
    settings: BenchSettings, turns: Sequence[TurnResult], grid: int | None, cancel: str, capacities: Mapping[Role, int]
) -> Row:
    turn = turns[0].turn
    source = backup_source(settings, turn.policy)
    collage = source is Source.COLLAGE
    blocks = [np.asarray(result.latencies) for result in turns]
    pooled = np.concatenate(blocks)
    answers = {name: sum(result.sources.get(name, 0) for result in turns) for name in Source}
    answered = max(1, sum(answers.values()))
    shares = [result.cpu_share for result in turns if result.cpu_share is not None]
    bounds: dict[str, float] = {}
    for name, quantile in PERCENTILES.items():
        bounds[name] = float(np.quantile(pooled, quantile))
        bounds[f"{name}_low"], bounds[f"{name}_high"] = interval(blocks, quantile)
    extra_work = sum(r.extra_seconds for r in turns) / max(1e-9, sum(r.single_seconds for r in turns))
    return Row(
        kind="live",
        metric="query",
        policy=turn.policy,
        code=source.value if source else "none",
        default=turn.policy == _ours(settings),
        straggler=turn.straggler,
        cancel=cancel,
        load=turn.load,
        workers=settings.workers,
        grid=grid if collage else None,
        capacity=grid * grid if collage and grid else capacities.get(source.role, 1) if source else 0,
        requests=len(pooled),
        seeds=[settings.seed],
        mean=float(pooled.mean()),
        std=float(pooled.std()),
        degraded_share=sum(count for name, count in answers.items() if name.degraded) / answered,
        extra_work=extra_work,
        a_o=sum(result.right for result in turns) / answered,
        a_a=sum(result.single_right for result in turns) / answered,
        overloaded=turn.load * (1 + extra_work) >= _OVERLOADED,
        scale=settings.times.scale,
        blocks=len(turns),
        failed=sum(result.failed for result in turns),
        backups_per_query=sum(result.backups_sent for result in turns) / answered,
        cpu_share=sum(shares) / len(shares) if shares else None,
        overrun_share=sum(result.overruns for result in turns) / max(1, sum(result.jobs for result in turns)),
        lateness_p99=max(result.lateness_p99 for result in turns),
        **bounds,
    )
