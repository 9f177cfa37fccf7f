"""The metrics that are read when Prometheus asks: what the dispatchers have counted, and what they are doing now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collage.serving._dataplane import DataPlane
from collage.serving._http_gate import Gate
from collage.serving._models import Models
from collage.serving._served import Served
from collage.serving.logs import lines_lost

_WORKER_STATES = ("idle", "busy", "pausing", "silent", "draining")


class GatewayState(Collector):
    """Reads one gateway. On the event loop's thread."""

    def __init__(self, models: Models, gate: Gate) -> None:
        self._models = models
        self._gate = gate

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked for at registration, when there is nothing to read yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        ready = self._models.ready and not self._gate.closed
        found = _Families()
        found.gauge("collage_ready", "1 where queries are answered, of every model.", ready)
        found.gauge("collage_http_requests_inside", "Inference requests being received or answered.", self._gate.inside)
        found.gauge("collage_http_body_bytes", "Bytes of bodies held in memory.", self._gate.held_bytes)
        text = "Log lines that could not be written: nobody reads, or a full disk."
        found.counter("collage_log_lines_lost", text, lines_lost())
        for served in self._models.shown:
            _read(served, _Families(found, model=served.name, version=served.version))
        yield from found.families.values()


class _Families:
    """Metrics by name, as they are found; all that one finds has its labels, in front of others."""

    def __init__(self, into: _Families | None = None, **labels: str) -> None:
        self.families: dict[str, Metric] = {} if into is None else into.families
        self._labels = labels

    def gauge(self, name: str, text: str, value: float | None, **labels: str) -> None:
        """value: None: there is none now, and the metric is there without it."""
        self._add(GaugeMetricFamily, name, text, value, labels)

    def counter(self, name: str, text: str, value: float | None, **labels: str) -> None:
        """The same; the name is without its _total."""
        self._add(CounterMetricFamily, name, text, value, labels)

    def by(
        self, label: str, name: str, text: str, values: Mapping[Any, float | None], *, counted: bool = False
    ) -> None:
        """A value for each value of the label; none at all, and the metric is there without."""
        kind = CounterMetricFamily if counted else GaugeMetricFamily
        for key, value in values.items() or (("", None),):
            self._add(kind, name, text, value, {label: str(key)})

    def _add(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        value: float | None,
        labels: dict[str, str],
    ) -> None:
        labels = self._labels | labels
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = kind(name, text, labels=list(labels))
        if value is not None:
            family.add_metric(list(labels.values()), float(value))  # type: ignore[attr-defined]


def _read(served: Served, found: _Families) -> None:
    """One version of a model."""
    plane = served.plane
    backups = ", ".join(model.card.name for model in plane.backups)
    text = "What answers; digest: of the single's file, the beginning."
    what = {"single": plane.single.card.name, "digest": plane.single.card.sha256[:12], "backup": backups}
    found.gauge("collage_model_info", text, 1, **what, policy=served.settings.policy)
    _now(plane, found)
    _workers(plane, found)
    _backups(plane, found)
    _work(plane, found)
    agreement = plane.agreement
    found.counter("collage_agreement_compared", "Controls that both single and backup answered.", agreement.compared)
    found.counter("collage_agreement_agreed", "Those in which both named the same class.", agreement.agreed)
    found.gauge("collage_agreement_recent", "Share of the last 200 such; absent: too few.", agreement.recent)
    found.gauge("collage_agreement_least", "The share below which the backup is switched off.", agreement.least)
    found.gauge("collage_backup_off", "1 while the backup is switched off: look why.", agreement.backup_off)


def _now(plane: DataPlane, found: _Families) -> None:
    view = plane.view()
    found.gauge("collage_queries_in_flight", "Queries taken in and without an outcome.", plane.in_flight)
    found.gauge("collage_queries_most", "Queries that may be in flight; beyond it they are refused.", plane.max_queue)
    found.gauge("collage_queries_waiting", "Queries in the queue: without a running single.", view.waiting)
    found.gauge("collage_patience_seconds", "How long a single is preferred; absent: not learnt.", view.patience)
    found.gauge("collage_trigger_seconds", "Age at which a backup is wanted; absent: not learnt.", view.trigger)
    found.gauge("collage_budget_seconds", "Extra work that may be spent now, worker-seconds.", view.balance)
    found.gauge("collage_budget_ratio", "Extra work allowed, over the singles' work.", plane.policy.budget)
    found.gauge("collage_backups_paused", "1 while no backup starts because the last ones failed.", view.paused)


def _workers(plane: DataPlane, found: _Families) -> None:
    workers = plane.view().workers
    jobs = {worker.worker: worker.jobs for worker in workers}
    speeds = {worker.worker: worker.speed for worker in workers}
    found.by("worker", "collage_worker_jobs", "Jobs that the worker runs.", jobs)
    found.by("worker", "collage_worker_speed", "Usual time of a single over this worker's; 1 is usual.", speeds)
    done = {worker.worker: worker.done for worker in workers}
    failed = {worker.worker: worker.failed for worker in workers}
    found.by("worker", "collage_worker_jobs_done", "Jobs done since it came up.", done, counted=True)
    found.by("worker", "collage_worker_jobs_failed", "Jobs failed since it came up.", failed, counted=True)
    text = "1 at the worker's state."
    found.gauge("collage_worker_state", text, None, worker="", state="")
    for worker in workers:
        for state in _WORKER_STATES:
            found.gauge("collage_worker_state", text, worker.state == state, worker=worker.worker, state=state)
    found.gauge("collage_workers_up", "Workers that are there.", len(workers))
    found.gauge("collage_workers_wanted", "Workers that should be there.", plane.workers_wanted)
    found.counter(
        "collage_workers_lost",
        "Times that a worker died, or was killed because it hung or sent garbage.",
        plane.dispatcher.stats.workers_lost,
    )


def _backups(plane: DataPlane, found: _Families) -> None:
    stats = plane.dispatcher.stats
    degraded = sum(count for source, count in stats.answered.items() if source.degraded)
    found.by("source", "collage_answers", "Answers by the job that gave them.", stats.answered, counted=True)
    found.counter("collage_degraded_answers", "Answers that no run of the single gave.", degraded)
    found.by("source", "collage_jobs_started", "Jobs started.", stats.started, counted=True)
    text = "Jobs without a usable output, or lost with their worker."
    found.by("source", "collage_jobs_failed", text, stats.failed, counted=True)
    found.counter("collage_backups_sent", "Backup jobs started.", stats.backups_sent)
    found.counter("collage_backups_won", "Queries that a backup answered.", stats.backups_won)
    found.counter("collage_backup_tiles_sent", "Queries in backup jobs.", stats.tiles_sent)
    found.counter("collage_backup_tiles_unknown", "Of them, those it had nothing to say of.", stats.unknown)
    found.counter("collage_budget_exhausted", "Backups wanted that the budget did not allow.", stats.budget_exhausted)
    found.counter("collage_singles_resent", "Late singles sent again by the second line.", stats.resent)
    found.counter("collage_singles_covered", "Singles sent again for a failed or lost job.", stats.covered)
    found.counter("collage_queries_shared", "Queries that shared another's jobs: the same image.", stats.shared)
    found.counter("collage_late_answers", "Answers that came after their query's outcome.", stats.late_answers)


def _work(plane: DataPlane, found: _Families) -> None:
    stats = plane.dispatcher.stats
    found.counter("collage_single_work_seconds", "Worker-seconds of the singles.", stats.single_seconds)
    found.counter("collage_extra_work_seconds", "Worker-seconds of everything else.", stats.extra_seconds)
