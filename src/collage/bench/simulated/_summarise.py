"""From finished points to rows: seeds pooled, intervals over them, the best of each tuning marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from collage.bench.simulated._expand import Point, Tried
from collage.bench.simulated._journal import PointJournal
from collage.bench.simulated._row import Estimate, SimulatedRow
from collage.bench.simulated._settings import Experiment
from collage.bench.simulated._tune import mark_kept
from collage.dispatch import Source
from collage.serving import ServingSettings
from collage.simulation import PointResult, Scenario, accuracy_difference, interval, merge_points

# Overloaded: the workers are as good as never idle, and the usual query waits long. The first alone is no trouble where
# backups only take what would stand idle.
_BUSY = 0.97
_WAITING = 1.5  # p50 over the mean time of a single

_MEASURES: dict[str, Callable[[PointResult], float]] = {
    "mean": lambda point: point.mean,
    "std": lambda point: point.std,
    "p50": lambda point: point.p50,
    "p90": lambda point: point.p90,
    "p95": lambda point: point.p95,
    "p99": lambda point: point.p99,
    "p999": lambda point: point.p999,
    "busiest_p99": lambda point: point.busiest_p99,
    "round_mean": lambda point: point.round_mean,
    "round_std": lambda point: point.round_std,
    "round_p99": lambda point: point.round_p99,
    "extra_work": lambda point: point.extra_work,
    "degraded_share": lambda point: point.degraded_share,
    "tiles_per_backup": lambda point: point.tiles_per_backup,
    "utilisation": lambda point: point.utilisation,
    "energy_per_1000": lambda point: point.energy,
    "worker_seconds": lambda point: point.worker_seconds,
    "moved_per_query": lambda point: point.moved_per_query,
}


def summarise(
    experiment: Experiment, points: Sequence[Point], journal: PointJournal
) -> tuple[list[SimulatedRow], list[PointResult]]:
    """A row for everything of which a point has finished, in the experiment's order; and each row's pooled result."""
    found: dict[int, tuple[Tried, list[int], list[PointResult]]] = {}
    for point in points:
        result = journal.find(point)
        if result is not None:
            _, seeds, results = found.setdefault(point.tried.number, (point.tried, [], []))
            seeds.append(point.seed)
            results.append(result)
    rows, pooled = [], []
    for _, (tried, seeds, results) in sorted(found.items()):
        merged = merge_points(results)
        rows.append(_row(experiment, tried, seeds, results, merged))
        pooled.append(merged)
    return _against_ours(mark_kept(experiment, rows), pooled), pooled


def _against_ours(rows: Sequence[SimulatedRow], pooled: Sequence[PointResult]) -> list[SimulatedRow]:
    """The rows, each with how its A_o differs from ours on the same queries; of a sweep, from our fastest row's."""
    best: dict[object, int] = {}
    for number, row in enumerate(rows):
        if row.ours and row.kept and (row.cell not in best or row.p99 < rows[best[row.cell]].p99):
            best[row.cell] = number
    return [_compared(rows, pooled, number, best.get(row.cell)) for number, row in enumerate(rows)]


def _compared(
    rows: Sequence[SimulatedRow], pooled: Sequence[PointResult], number: int, ours: int | None
) -> SimulatedRow:
    row, point = rows[number], pooled[number]
    if ours is None or ours == number or row.seeds != rows[ours].seeds:
        return row
    if not point.images or point.images != pooled[ours].images:
        return row
    found = Estimate(**accuracy_difference(point, pooled[ours])._asdict())
    return row.model_copy(update={"metrics": row.metrics | {"accuracy_to_ours": found}})


def _row(
    experiment: Experiment, tried: Tried, seeds: list[int], results: Sequence[PointResult], merged: PointResult
) -> SimulatedRow:
    scenario, entry = tried.scenario, experiment.policies[tried.entry]
    rounds = scenario.arrivals.kind == "rounds"
    metrics = _metrics(results, merged)
    work = metrics["extra_work"].value
    collage = tried.policy.code in {Source.COLLAGE, Source.BATCH}
    return SimulatedRow(
        experiment=experiment.name,
        cell=tried.cell,
        label=tried.label,
        preset=entry.preset,
        entry=tried.entry,
        knobs=tried.knobs,
        default=entry.preset == ServingSettings.model_fields["policy"].default and not (entry.settings or tried.knobs),
        ours=entry.ours,
        yardstick=scenario.no_stragglers or scenario.oracle,
        code=tried.policy.code.value if tried.policy.code else "none",
        x=None if experiment.figure.x is None else tried.value(experiment.figure.x),
        straggler=_straggler(scenario),
        cancel=scenario.cancel.effect,
        load=scenario.load,
        workers=scenario.workers,
        grid=tried.largest if collage else None,
        capacity=tried.capacity,
        metric="round" if rounds else "query",
        seeds=seeds,
        requests=merged.answers,
        rejected=merged.rejected,
        overloaded=not rounds and _overloaded(scenario, merged, work),
        scale=getattr(scenario.times, "scale", 1.0),
        metrics=metrics,
        sources={source.value: count for source, count in merged.answered.items()},
        a_o=merged.a_o,
        a_a=merged.a_a,
        backups_per_query=merged.backups_per_query,
        worker_seconds=merged.worker_seconds,
    )


def _overloaded(scenario: Scenario, merged: PointResult, work: float) -> bool:
    busy = max((scenario.load or 0.0) * (1 + work), merged.utilisation)
    return busy >= _BUSY and not merged.p50 <= _WAITING * scenario.mean


def _metrics(results: Sequence[PointResult], merged: PointResult) -> dict[str, Estimate]:
    """Each figure of all seeds together, and how far it goes from seed to seed. What there is none of is left out."""
    found = {}
    for name, measure in _MEASURES.items():
        value = measure(merged)
        if math.isfinite(value):
            found[name] = _estimate(value, interval([measure(each) for each in results]).half)
    found.setdefault("extra_work", _estimate(0.0, 0.0))
    found.setdefault("degraded_share", _estimate(0.0, 0.0))
    # From the queries themselves, each answered and, on paper, answered by its single: tighter than over seeds.
    found["accuracy_change"] = Estimate(**accuracy_difference(merged)._asdict())
    return found


def _estimate(value: float, half: float) -> Estimate:
    if not math.isfinite(value):
        value = 0.0
    spread = half if math.isfinite(half) else 0.0
    value += 0.0  # no -0.0
    return Estimate(value=value, low=value - spread, high=value + spread)


def _straggler(scenario: Scenario) -> str:
    """Whether slowness lasts."""
    times = scenario.times
    lasting = times.kind == "episodes" or (times.kind == "trace" and times.order == "replay")
    return "episodes" if lasting or scenario.slowdowns or scenario.pauses else "iid"
