"""What one policy did in one scenario: sums, so that several seeds add up, and what follows from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collage.dispatch import Source, Why
from collage.simulation._histogram import LatencyHistogram


@dataclass(frozen=True)
class PointResult:
    """Counted queries of one policy in one scenario. Seconds, joules, fractions.

    The fields are sums; `merge_points` adds them up. Work, energy and backups are those of the time in which the
    counted queries arrived; latencies and answers are of the counted queries, whenever they ended.
    """

    queries: int  # counted: answered or rejected
    latencies: LatencyHistogram  # of the answered
    rounds: LatencyHistogram  # latencies of whole rounds; empty where the load is not made of rounds
    answered: Mapping[Source, int]
    refused: Mapping[Why, int]
    right_given: int  # answers that are right
    right_single: int  # of the same queries: where the single's own answer would have been
    images: int  # that queries could show; 0: no outcomes of an evaluation, every answer is right
    gained: Mapping[int, int]  # by image, of the same queries: right answers, less the single's; zeros left out
    single_seconds: float  # worker-seconds of singles, and of what covered lost ones
    extra_seconds: float  # worker-seconds of everything else
    busy_seconds: float  # worker-seconds in which workers computed
    fleet_seconds: float  # workers x time
    joules: float
    backups_sent: int
    tiles_sent: int  # queries in them
    shared: int = 0  # queries that shared the jobs of another with the same image
    busiest: LatencyHistogram = field(default_factory=LatencyHistogram)  # of several gateways, the busiest's answers
    moved: int = 0  # workers that went from one of several gateways to another
    seeds: int = 1  # runs in it

    # Latency.

    @property
    def answers(self) -> int:
        """Counted queries that got an answer."""
        return self.latencies.count

    @property
    def mean(self) -> float:
        """Mean latency, seconds."""
        return self.latencies.mean

    @property
    def std(self) -> float:
        """Standard deviation of latency, seconds."""
        return self.latencies.std

    @property
    def p50(self) -> float:
        """Median latency, seconds, as all quantiles to within 0.5%."""
        return self.latencies.quantile(0.5)

    @property
    def p90(self) -> float:
        """Seconds."""
        return self.latencies.quantile(0.9)

    @property
    def p95(self) -> float:
        """Seconds."""
        return self.latencies.quantile(0.95)

    @property
    def p99(self) -> float:
        """Seconds."""
        return self.latencies.quantile(0.99)

    @property
    def p999(self) -> float:
        """Seconds."""
        return self.latencies.quantile(0.999)

    @property
    def busiest_p99(self) -> float:
        """p99 of the busiest gateway's answers, seconds; NaN without several."""
        return self.busiest.quantile(0.99)

    @property
    def round_mean(self) -> float:
        """Mean time from a round's start to its last answer, seconds; NaN without rounds."""
        return self.rounds.mean

    @property
    def round_std(self) -> float:
        """Its standard deviation, seconds; NaN without rounds."""
        return self.rounds.std

    @property
    def round_p99(self) -> float:
        """Its 99th percentile, seconds; NaN without rounds."""
        return self.rounds.quantile(0.99)

    @property
    def rejected(self) -> int:
        """Counted queries without an answer."""
        return sum(self.refused.values())

    # Answers.

    @property
    def degraded_share(self) -> float:
        """Share of answers that came from another model than the single."""
        return _share(sum(count for source, count in self.answered.items() if source.degraded), self.answers)

    @property
    def a_o(self) -> float:
        """Accuracy of the answers given."""
        return _share(self.right_given, self.answers)

    @property
    def a_a(self) -> float:
        """Accuracy that the single would have had on the same queries."""
        return _share(self.right_single, self.answers)

    @property
    def accuracy_loss(self) -> float:
        """A_a - A_o: the mean of the differences by query."""
        return _share(self.right_single - self.right_given, self.answers)

    # Cost.

    @property
    def extra_work(self) -> float:
        """Worker-seconds beyond the singles', divided by the singles'."""
        return _share(self.extra_seconds, self.single_seconds)

    @property
    def worker_seconds(self) -> float:
        """Worker-seconds computed for each counted query."""
        return _share(self.busy_seconds, self.queries)

    @property
    def utilisation(self) -> float:
        """Share of the workers' time in which they computed."""
        return _share(self.busy_seconds, self.fleet_seconds)

    @property
    def energy(self) -> float:
        """Joules for 1,000 answers."""
        return 1000 * _share(self.joules, self.answers)

    @property
    def tiles_per_backup(self) -> float:
        """Queries in a backup job, on average; 0 without backups."""
        return self.tiles_sent / max(1, self.backups_sent)

    @property
    def shared_share(self) -> float:
        """Share of queries that had no jobs of their own."""
        return _share(self.shared, self.queries)

    @property
    def moved_per_query(self) -> float:
        """Workers that went to another gateway, for each query."""
        return _share(self.moved, self.queries)

    @property
    def backups_per_query(self) -> float:
        """Backup jobs started for each query."""
        return _share(self.backups_sent, self.queries)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def merge_points(points: Sequence[PointResult]) -> PointResult:
    """The results of several seeds as if they were one long run. Raises ValueError for none."""
    if not points:
        raise ValueError("points: nothing to merge")
    answered: Counter[Source] = Counter()
    refused: Counter[Why] = Counter()
    gained: Counter[int] = Counter()
    for point in points:
        answered.update(point.answered)
        refused.update(point.refused)
        gained.update(point.gained)
    return PointResult(
        queries=sum(point.queries for point in points),
        latencies=LatencyHistogram.merged(point.latencies for point in points),
        rounds=LatencyHistogram.merged(point.rounds for point in points),
        answered=dict(answered),
        refused=dict(refused),
        right_given=sum(point.right_given for point in points),
        right_single=sum(point.right_single for point in points),
        images=points[0].images,
        gained={image: net for image, net in gained.items() if net},
        single_seconds=sum(point.single_seconds for point in points),
        extra_seconds=sum(point.extra_seconds for point in points),
        busy_seconds=sum(point.busy_seconds for point in points),
        fleet_seconds=sum(point.fleet_seconds for point in points),
        joules=sum(point.joules for point in points),
        backups_sent=sum(point.backups_sent for point in points),
        tiles_sent=sum(point.tiles_sent for point in points),
        shared=sum(point.shared for point in points),
        busiest=LatencyHistogram.merged(point.busiest for point in points),
        moved=sum(point.moved for point in points),
        seeds=sum(point.seeds for point in points),
    )


class Interval(NamedTuple):
    """A mean over seeds, and half the width of its 95% interval (NaN for one seed)."""

    mean: float
    half: float


# Student's t, 97.5%, by degrees of freedom from 1; beyond them the normal's is near enough.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def over_seeds(points: Sequence[PointResult], measure: Callable[[PointResult], float]) -> Interval:
    """Mean of a measure over seeds with its 95% interval: over_seeds(points, lambda p: p.p99).

    For the difference of two policies, give `interval` the differences of each seed's pair: both meet the same
    arrivals and the same workers, so that they differ by less than each does by itself.
    """
    return interval([measure(point) for point in points])


def interval(values: Sequence[float]) -> Interval:
    """Mean and half the 95% interval of independent values. Raises ValueError for none."""
    if not values:
        raise ValueError("values: none to average")
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, math.nan)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    student = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 1.96
    return Interval(mean, student * math.sqrt(variance / count))
