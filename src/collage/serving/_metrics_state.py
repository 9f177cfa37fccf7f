"""The metrics that are read when Prometheus asks: what the dispatcher has counted, and what it is doing now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collage.dispatch import Source
from collage.serving._http_gate import Gate
from collage.serving.logs import lines_lost

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane

_WORKER_STATES = ("idle", "busy", "pausing", "silent", "draining")


class GatewayState(Collector):
    """Reads one gateway. On the event loop's thread."""

    def __init__(self, plane: DataPlane, gate: Gate) -> None:
        self._plane = plane
        self._gate = gate

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked for at registration, when there is nothing to read yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._now()
        yield from self._workers()
        yield from self._backups()
        yield from self._work()
        agreement = self._plane.agreement
        yield _counter(
            "collage_agreement_compared", "Controls that both single and backup answered.", agreement.compared
        )
        yield _counter("collage_agreement_agreed", "Those in which both named the same class.", agreement.agreed)

        yield _gauge("collage_agreement_recent", "Share of the last 200 such; absent: too few.", agreement.recent)
        yield _gauge("collage_agreement_least", "The share below which the backup is switched off.", agreement.least)
        yield _gauge("collage_backup_off", "1 while the backup is switched off: look why.", agreement.backup_off)

    def _now(self) -> Iterator[Metric]:
        plane, view = self._plane, self._plane.view()
        yield _gauge("collage_ready", "1 where queries are answered.", plane.ready and not self._gate.closed)
        yield _gauge("collage_queries_in_flight", "Queries taken in and without an outcome.", plane.in_flight)
        yield _gauge(
            "collage_queries_most", "Queries that may be in flight; beyond it they are refused.", plane.max_queue
        )
        yield _gauge("collage_queries_waiting", "Queries in the queue: without a running single.", view.waiting)
        yield _gauge(
            "collage_http_requests_inside", "Inference requests being received or answered.", self._gate.inside
        )
        yield _gauge("collage_http_body_bytes", "Bytes of bodies held in memory.", self._gate.held_bytes)
        yield _counter(
            "collage_log_lines_lost", "Log lines that could not be written: nobody reads, or a full disk.", lines_lost()
        )
        yield _gauge("collage_patience_seconds", "How long a single is preferred; absent: not learnt.", view.patience)
        yield _gauge("collage_trigger_seconds", "Age at which a backup is wanted; absent: not learnt.", view.trigger)
        yield _gauge("collage_budget_seconds", "Extra work that may be spent now, worker-seconds.", view.balance)
        yield _gauge("collage_budget_ratio", "Extra work allowed, over the singles' work.", plane.policy.budget)
        yield _gauge("collage_backups_paused", "1 while no backup starts because the last ones failed.", view.paused)

    def _workers(self) -> Iterator[Metric]:
        workers = self._plane.view().workers
        states = GaugeMetricFamily("collage_worker_state", "1 at the worker's state.", labels=["worker", "state"])
        running = GaugeMetricFamily("collage_worker_jobs", "Jobs that the worker runs.", labels=["worker"])
        speed = GaugeMetricFamily(
            "collage_worker_speed", "Usual time of a single over this worker's; 1 is usual.", labels=["worker"]
        )
        done = CounterMetricFamily("collage_worker_jobs_done", "Jobs done since it came up.", labels=["worker"])
        failed = CounterMetricFamily("collage_worker_jobs_failed", "Jobs failed since it came up.", labels=["worker"])
        for worker in workers:
            for state in _WORKER_STATES:
                states.add_metric([worker.worker, state], worker.state == state)
            running.add_metric([worker.worker], worker.jobs)
            if worker.speed is not None:
                speed.add_metric([worker.worker], worker.speed)
            done.add_metric([worker.worker], worker.done)
            failed.add_metric([worker.worker], worker.failed)
        yield _gauge("collage_workers_up", "Workers that are there.", len(workers))
        yield _gauge("collage_workers_wanted", "Workers that should be there.", self._plane.workers_wanted)
        yield _counter(
            "collage_workers_lost",
            "Times that a worker died, or was killed because it hung or sent garbage.",
            self._plane.dispatcher.stats.workers_lost,
        )
        yield from (states, running, speed, done, failed)

    def _backups(self) -> Iterator[Metric]:
        stats = self._plane.dispatcher.stats
        degraded = sum(count for source, count in stats.answered.items() if source.degraded)
        yield _by_source("collage_answers", "Answers by the job that gave them.", stats.answered)
        yield _counter("collage_degraded_answers", "Answers that no run of the single gave.", degraded)
        yield _by_source("collage_jobs_started", "Jobs started.", stats.started)
        yield _by_source(
            "collage_jobs_failed", "Jobs without a usable output, or lost with their worker.", stats.failed
        )
        yield _counter("collage_backups_sent", "Backup jobs started.", stats.backups_sent)
        yield _counter("collage_backups_won", "Queries that a backup answered.", stats.backups_won)
        yield _counter("collage_backup_tiles_sent", "Queries in backup jobs.", stats.tiles_sent)
        yield _counter("collage_backup_tiles_unknown", "Of them, those it had nothing to say of.", stats.unknown)
        yield _counter(
            "collage_budget_exhausted", "Backups wanted that the budget did not allow.", stats.budget_exhausted
        )
        yield _counter("collage_singles_resent", "Late singles sent again by the second line.", stats.resent)
        yield _counter("collage_singles_covered", "Singles sent again for a failed or lost job.", stats.covered)
        yield _counter("collage_queries_shared", "Queries that shared another's jobs: the same image.", stats.shared)
        yield _counter("collage_late_answers", "Answers that came after their query's outcome.", stats.late_answers)

    def _work(self) -> Iterator[Metric]:
        stats = self._plane.dispatcher.stats
        yield _counter("collage_single_work_seconds", "Worker-seconds of the singles.", stats.single_seconds)
        yield _counter("collage_extra_work_seconds", "Worker-seconds of everything else.", stats.extra_seconds)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, text)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _by_source(name: str, text: str, counts: Mapping[Source, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["source"])
    for source, count in counts.items():
        family.add_metric([source.value], count)
    return family
