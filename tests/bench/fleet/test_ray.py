"""The study of a killed node: what its summary says; and a short one on a real cluster, where Ray is installed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from collage.bench.fleet import Asked, RayMoment, RayPlan, RayResult, run_ray, summarise_ray, write_ray

NAN = float("nan")


def played(**times: float) -> RayResult:
    moments = [RayMoment(0.0, 3, 4, (2, 1, 1)), RayMoment(11.0, 2, 3, (2, 1, 0)), RayMoment(31.0, 3, 6, (2, 2, 0, 2))]
    asked = [
        Asked(1.0, 0.1, "single", False),
        Asked(2.0, 0.3, "single", True),
        Asked(12.0, 0.9, "collage", False),
        Asked(13.0, NAN, "no worker is up", False),
        Asked(25.0, 0.2, "replica", False),
    ]
    return RayResult(RayPlan(), answers=5, workers_killed=1, moments=moments, asked=asked, **times)


def test_the_summary_hides_no_lost_double_or_wrong_answer(tmp_path: Path) -> None:
    result = played(killed=10.0, noticed=11.0, recovered=20.0, joined=30.0, grown=31.5)
    found = summarise_ray(result)
    counts = {name: found[name] for name in ("nodes", "workers", "requests", "lost", "double", "wrong", "degraded")}
    assert counts == {"nodes": 3, "workers": 4, "requests": 5, "lost": 1, "double": 1, "wrong": 1, "degraded": 1}
    assert found["why_lost"] == {"no worker is up": 1}
    assert [found[f"p50_{part}_ms"] for part in ("before", "during", "after")] == [200.0, 900.0, 200.0]
    assert (found["noticed_after_s"], found["recovered_after_s"], found["grown_after_join_s"]) == (1.0, 10.0, 1.5)
    paths = write_ray(result, tmp_path, "collage fleet ray")
    assert [path.name for path in paths] == ["queries.csv", "workers.csv", "ray.json", "ray.png"]
    assert len(list(csv.reader(paths[0].read_text().splitlines()))) == 6
    rows = list(csv.reader(paths[1].read_text().splitlines()))
    assert rows[0] == ["seconds", "nodes", "workers_up", "node_0", "node_1", "node_2", "node_3"]
    assert rows[1] == ["0.0", "3", "4", "2", "1", "1", "0"]
    assert json.loads(paths[2].read_text())["command"] == "collage fleet ray"
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_workers_that_never_came_back_are_no_number() -> None:
    found = summarise_ray(played(killed=10.0, noticed=11.0, joined=30.0))
    assert (found["recovered_after_s"], found["grown_after_join_s"]) == (None, None)
    assert (found["requests_during"], found["requests_after"], found["p99_after_ms"]) == (3, 0, None)


@pytest.mark.ray
def test_no_query_is_lost_where_a_real_node_is_killed() -> None:
    pytest.importorskip("ray", reason="no Ray: tests/remote/make-ray.sh makes an environment with it")
    result = run_ray(RayPlan(calm_seconds=2.0, cpus=1, job_seconds=0.05, load=0.6))
    found = summarise_ray(result)
    assert found["workers_killed"] == 1
    assert found["requests"] > 0
    assert (found["lost"], found["double"], found["wrong"]) == (0, 0, 0)
    assert None not in (found["noticed_after_s"], found["recovered_after_s"], found["grown_after_join_s"])
    last = result.moments[-1]
    assert (last.nodes, last.workers_up, last.by_node[-1]) == (3, 3, 1)
