"""The dashboard and the alerts in deploy/ ask for what a gateway exports: each metric, each label, and its values."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ..waiting import wait_until

promql = pytest.importorskip("promql_parser")
yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS_OWN = {"job", "instance"}  # labels that it puts on every series
PROMETHEUS_METRICS = {"up"}
LATE = {"deadline", "unavailable", "failed", "silent", "pausing"}  # values that need trouble to be seen
POLICY = {"warmup": 20, "patience_quantile": 0.6, "budget": 1.0}
ALERTS = [rule for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
          for rule in group["rules"]]  # fmt: skip


class Query(NamedTuple):
    """One expression, where it stands, and the labels that its text shows a reader."""

    where: str
    text: str
    shown: set[str]


def _dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana/collage.json").read_text())  # type: ignore[no-any-return]


def _queries() -> list[Query]:
    found = []
    for panel in _dashboard()["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            text = text.replace("$model", "greys")
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            found.append(Query(f"{panel['title']}, {target['refId']}", text, shown))
    for rule in ALERTS:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule)))
        found.append(Query(rule["alert"], rule["expr"], shown))
    return found


def _nodes(text: str) -> list[Any]:
    nodes: list[Any] = []
    promql.walk(promql.parse(text), nodes.append)
    return nodes


def _selectors(text: str) -> Iterator[Any]:
    for node in _nodes(text):
        if isinstance(node, promql.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql.VectorSelector):
            yield node


def idle(gateway: Any) -> bool:
    return not any(jobs for name, jobs in gateway.metrics().items() if name.startswith("collage_worker_jobs{"))


@pytest.fixture(scope="module")
def exported(start_gateway: Any, png: Any) -> dict[str, dict[str, set[str]]]:
    """Labels with their values by sample name, of a gateway that has seen stragglers, and a worker die."""
    gateway = start_gateway(hold=0.02, workers=3, demo=True, control_share=0.5, policy_overrides=POLICY)

    def ask(index: int, more: str = "") -> str:
        status, answer, _ = gateway.ask("POST", f"/v1/classify?deadline_ms=60000{more}", png(index % 10))
        assert status == 200, answer
        return str(answer["source"])

    with ThreadPoolExecutor(6) as pool:
        sources: set[str] = set()
        while "collage" not in sources:
            gateway.ask("POST", "/demo/straggle?worker=w1")
            sources |= set(pool.map(ask, range(60)))
        wait_until(lambda: idle(gateway), "no worker runs anything: a straggler may run a collage that nobody needs")
        with gateway.stopped_workers():  # and each has a single: the one that is killed, too
            asked = [pool.submit(ask, index, "&accept_degraded=false") for index in range(6)]
            gateway.await_metric("collage_queries_in_flight", 6)
            os.kill(gateway.worker_pids()[0], signal.SIGKILL)
            gateway.await_metric("collage_workers_lost_total", 1)
        assert all(future.result() for future in asked)
    text = gateway.ask("GET", "/metrics")[1].decode()
    assert gateway.stop()[0] == 0
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


@pytest.mark.parametrize("query", _queries(), ids=lambda query: query.where)
def test_a_query_asks_for_what_is_exported(query: Query, exported: dict[str, dict[str, set[str]]]) -> None:
    selectors = list(_selectors(query.text))
    assert selectors
    known = set(PROMETHEUS_OWN)
    for selector in selectors:
        if selector.name in PROMETHEUS_METRICS:
            continue
        assert selector.name in exported
        labels = exported[selector.name]
        known |= labels.keys()
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels.keys() | PROMETHEUS_OWN
            if matcher.name not in PROMETHEUS_OWN:
                assert set(matcher.value.split("|")) <= labels[matcher.name] | LATE
    for node in _nodes(query.text):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= known
    grouped = [set(node.modifier.labels) for node in _nodes(query.text)
               if isinstance(node, promql.AggregateExpr) and node.modifier is not None]  # fmt: skip
    assert query.shown <= (grouped[0] if grouped else known)


def test_rates_are_of_counters_only(exported: dict[str, dict[str, set[str]]]) -> None:
    for query in _queries():
        ranged = [node.vector_selector.name for node in _nodes(query.text) if isinstance(node, promql.MatrixSelector)]
        if "_over_time(" not in query.text:
            assert [name for name in ranged if not name.endswith(("_total", "_bucket", "_count"))] == []


def test_everything_that_is_exported_is_on_the_dashboard_or_alerted_on(exported: dict[str, Any]) -> None:
    asked = {selector.name for query in _queries() for selector in _selectors(query.text)}
    without = {"collage_query_latency_seconds_sum"}  # a mean says little of a tail
    assert {name for name in exported if not name.endswith("_created")} - asked == without


def test_the_dashboard_is_one() -> None:
    dashboard = _dashboard()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [panel["title"] for panel in panels if panel["type"] != "row" and not panel["description"]] == []
    cells = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in panels]
    assert len(set(cells)) == len(cells)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel.get("targets") for panel in panels])))
    assert used - {"__rate_interval"} <= names


def test_alerts_say_what_to_do() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names)) >= 12
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description"}
