"""What Prometheus sees: numbers that agree with what clients were given."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

WORKERS = {"w0", "w1", "w2"}


def _samples(gateway: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by sample name and by the values of its labels, these in the order of their names, but for the model's."""
    text = gateway.ask("GET", "/metrics")[1].decode()
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name not in ("model", "version")}
            values = samples.setdefault(sample.name, {})
            key = tuple(value for _, value in sorted(labels.items()))
            values[key] = values.get(key, 0.0) + sample.value
    return samples


def test_an_idle_gateway_shows_all_that_there_is(gateway: Any) -> None:
    names = set(_samples(gateway))
    assert names >= {
        "collage_agreement_agreed_total",
        "collage_agreement_compared_total",
        "collage_backups_paused",
        "collage_backups_sent_total",
        "collage_backups_won_total",
        "collage_budget_exhausted_total",
        "collage_budget_ratio",
        "collage_build_info",
        "collage_degraded_answers_total",
        "collage_extra_work_seconds_total",
        "collage_http_body_bytes",
        "collage_queries_in_flight",
        "collage_queries_most",
        "collage_queries_rejected_total",
        "collage_queries_waiting",
        "collage_ready",
        "collage_single_work_seconds_total",
        "collage_worker_state",
        "collage_workers_lost_total",
        "collage_workers_up",
        "collage_workers_wanted",
    }


def test_answers_of_single_and_backup_are_counted_as_clients_saw_them(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(
        hold=0.02, workers=3, demo=True, control_share=0.5, policy_overrides={"warmup": 20, "patience_quantile": 0.6}
    )
    seen: Counter[str] = Counter()

    def ask(index: int) -> None:
        status, answer, _ = gateway.ask("POST", "/v1/classify", png(index % 10))
        assert (status, answer["label"]) == (200, f"g{index % 10}")
        seen[answer["source"]] += 1

    with ThreadPoolExecutor(6) as pool:
        while not seen["collage"]:
            assert gateway.ask("POST", "/demo/straggle?worker=w1")[0] == 200
            list(pool.map(ask, range(60)))
    found = _samples(gateway)
    assert {source: count for (source,), count in found["collage_answers_total"].items()} == seen
    assert {source: count for (source,), count in found["collage_query_latency_seconds_count"].items()} == seen
    assert found["collage_degraded_answers_total"][()] == seen["collage"]
    assert found["collage_backups_won_total"][()] == seen.total() - seen["single"]
    assert found["collage_backups_sent_total"][()] >= 1
    assert found["collage_jobs_started_total"]["collage",] >= 1
    assert found["collage_extra_work_seconds_total"][()] > 0
    assert found["collage_single_work_seconds_total"][()] > 0
    assert found["collage_queries_in_flight"][()] == found["collage_queries_waiting"][()] == 0
    assert found["collage_workers_up"][()] == 3
    assert {worker for _, worker in found["collage_worker_state"]} == WORKERS
    for worker in WORKERS:
        assert sum(value for (_, name), value in found["collage_worker_state"].items() if name == worker) == 1
    assert found["collage_agreement_compared_total"][()] >= found["collage_agreement_agreed_total"][()]
    assert found["collage_http_responses_total"]["/v1/classify", "200"] == seen.total()
    assert gateway.stop()[0] == 0


def test_what_cannot_be_read_as_a_query_is_a_rejected_one(gateway: Any) -> None:
    before = _samples(gateway).get("collage_queries_rejected_total", {}).get(("invalid",), 0)
    asked = [
        ("/v2/models/greys/infer", b"{", 400),
        ("/v2/models/greys/infer", b'{"inputs": []}', 400),
        ("/v2/models/greys/infer", b"x" * 1_000_001, 413),
        ("/v1/classify?top=none", b"", 400),
        ("/v1/classify", b"x" * 1_000_001, 413),
        ("/v1/classify", b"no picture", 400),
    ]
    for path, body, status in asked:
        assert gateway.ask("POST", path, body)[0] == status
    assert _samples(gateway)["collage_queries_rejected_total"]["invalid",] == before + len(asked)


def test_a_worker_that_dies_is_missed_and_counted(start_gateway: Any) -> None:
    gateway = start_gateway(workers=2)
    (victim, _) = gateway.worker_pids()
    assert (gateway.metrics()["collage_workers_up"], gateway.metrics()["collage_workers_wanted"]) == (2, 2)
    os.kill(victim, signal.SIGKILL)
    gateway.await_metric("collage_workers_lost_total", 1)
    gateway.await_metric("collage_workers_up", 2)  # it is back
    assert gateway.metrics()["collage_workers_wanted"] == 2
    assert gateway.stop()[0] == 0


def test_the_histogram_is_fine_enough_for_one_in_a_thousand(gateway: Any, png: Any) -> None:
    gateway.ask("POST", "/v1/classify", png(1))
    text = gateway.ask("GET", "/metrics")[1].decode()
    bounds = sorted({float(bound) for bound in re.findall(r'_latency_seconds_bucket\{le="([0-9.e-]+)"', text)})
    assert bounds[0] <= 0.001
    assert bounds[-1] >= 60
    assert all(above / below < 1.17 for below, above in itertools.pairwise(bounds))
