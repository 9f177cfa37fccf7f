"""The study of workers that follow a load: what its summary says, and a short one with real processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from collage.bench.fleet import ElasticPlan, ElasticResult, Moment, run_elastic, summarise_elastic, write_elastic

NAN = float("nan")


def test_the_summary_counts_by_step_and_never_hides_a_lost_query(tmp_path: Path) -> None:
    plan = ElasticPlan(steps=(1.0, 2.0), step_seconds=10.0, load=1.5)
    moments = [
        Moment(2.0, 1.5, None, 2, 2, 0, 0),
        Moment(7.0, 1.5, 1.4, 3, 3, 0, 0),
        Moment(12.0, 3.0, 1.4, 3, 5, 0, 4),
        Moment(17.0, 3.0, 3.2, 5, 5, 1, 0),
    ]
    arrivals = np.array([1.0, 2.0, 9.9, 10.0, 15.0])
    latencies = np.array([0.1, 0.3, NAN, 0.5, NAN])
    result = ElasticResult(plan, moments, arrivals, latencies, {"full": 2}, 4.0, 0)
    found = summarise_elastic(result)
    assert (found["requests"], found["lost"], found["why_lost"]) == (5, 2, {"full": 2})
    assert [step["queries"] for step in found["steps"]] == [3, 2]
    assert [step["lost"] for step in found["steps"]] == [1, 1]
    assert [step["p50_ms"] for step in found["steps"]] == [200.0, 500.0]
    assert [step["workers_in_second_half"] for step in found["steps"]] == [3.0, 5.0]
    assert found["workers_mean"] == 3.5  # those that drain count: they are paid for
    paths = write_elastic(result, tmp_path, "collage fleet elastic")
    assert [path.name for path in paths] == ["elastic.csv", "elastic.json", "elastic.png"]
    assert json.loads(paths[1].read_text())["command"] == "collage fleet elastic"
    rows = list(csv.reader(paths[0].read_text().splitlines()))
    assert rows[0] == list(Moment._fields)
    assert len(rows) == 5
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_a_load_without_a_single_query_has_no_quantiles() -> None:
    nothing = np.zeros(0)
    result = ElasticResult(
        ElasticPlan(steps=(1.0,)), [Moment(0.0, 1.5, None, 1, 1, 0, 0)], nothing, nothing, {}, 0.0, 0
    )
    step = summarise_elastic(result)["steps"][0]
    assert (step["queries"], step["p99_ms"], step["workers_in_second_half"]) == (0, None, None)


def test_real_workers_answer_every_query_of_a_short_load() -> None:
    shares: list[float] = []
    plan = ElasticPlan(steps=(1.0,), step_seconds=2.0, load=0.5, job_seconds=0.05, most=2)
    result = run_elastic(plan, shares.append)
    assert len(result.latencies) > 0
    assert not np.isnan(result.latencies).any()
    assert result.refused == {}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
