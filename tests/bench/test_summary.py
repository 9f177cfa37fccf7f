"""From turns to rows: pooled, weighted, in the row format, with intervals and words that follow from the numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from collage.bench import BenchSettings, Row, Turn, TurnResult, markdown, summarise, verdicts, write_report

# The row format that tools and the report read.
SCHEMA = [
    "kind",
    "metric",
    "policy",
    "code",
    "default",
    "straggler",
    "cancel",
    "load",
    "workers",
    "grid",
    "capacity",
    "requests",
    "seeds",
    "mean",
    "std",
    "p50",
    "p99",
    "p999",
    "degraded_share",
    "extra_work",
    "a_o",
    "a_a",
]


def settings(**changes: object) -> BenchSettings:
    values = {"name": "made", "policies": ["none", "collage", "cheap"], "loads": [0.3], "blocks": 4, "requests": 1000}
    return BenchSettings.model_validate(values | changes)


def turn(policy: str, block: int, latencies: list[float], **changes: object) -> TurnResult:
    values = {
        "turn": Turn("iid", 0.3, block, policy),
        "latencies": latencies,
        "sources": {"single": len(latencies)},
        "right": len(latencies),
        "single_right": len(latencies),
        "failed": 0,
        "single_seconds": 10.0,
        "extra_seconds": 0.0,
        "backups_sent": 0,
        "jobs": 100,
        "overruns": 1,
        "lateness_p99": 0.001,
        "lateness_max": 0.002,
        "cpu_share": 0.5,
        "seconds": 10.0,
    }
    return TurnResult.model_validate(values | changes)


def blocks(policy: str, seed: int = 0, slow: float = 0.02, **changes: object) -> list[TurnResult]:
    rng = np.random.default_rng(seed)
    made = []
    for block in range(4):
        latencies = rng.lognormal(-3, 0.2, 1000)
        latencies[rng.random(1000) < slow] += 0.5
        made.append(turn(policy, block, latencies.tolist(), **changes))
    return made


def rows_of(results: list[TurnResult]) -> list[Row]:
    return summarise(settings(), results, grid=3, cancel="nothing")


def test_figures_are_of_all_counted_requests_of_all_blocks() -> None:
    results = blocks("collage")
    (row,) = rows_of(results)
    pooled = np.concatenate([result.latencies for result in results])

    assert row.requests == 4000
    assert row.blocks == 4
    assert row.mean == pytest.approx(pooled.mean())
    assert row.std == pytest.approx(pooled.std())
    assert [row.p50, row.p99, row.p999] == pytest.approx(np.quantile(pooled, [0.5, 0.99, 0.999]))


def test_shares_are_of_all_answers_and_extra_work_is_of_all_seconds() -> None:
    results = [
        turn(
            "collage",
            0,
            [0.1] * 4,
            sources={"single": 3, "collage": 1},
            right=3,
            single_right=4,
            extra_seconds=1.0,
            backups_sent=2,
        ),
        turn(
            "collage",
            1,
            [0.1] * 4,
            sources={"single": 1, "collage": 2, "replica": 1},
            right=4,
            single_right=2,
            single_seconds=30.0,
            extra_seconds=9.0,
            failed=1,
        ),
    ]
    (row,) = rows_of(results)

    assert row.degraded_share == pytest.approx(3 / 8)  # a replica is the single's own model
    assert row.extra_work == pytest.approx(10 / 40)
    assert (row.a_o, row.a_a) == pytest.approx((7 / 8, 6 / 8))
    assert row.backups_per_query == pytest.approx(2 / 8)
    assert row.overrun_share == pytest.approx(0.01)
    assert row.failed == 1


def test_rows_have_the_agreed_fields_and_say_what_the_backup_is() -> None:
    rows = rows_of([*blocks("cheap"), *blocks("collage"), *blocks("none")])
    records = [json.loads(row.model_dump_json()) for row in rows]

    assert all(set(SCHEMA) <= set(record) for record in records)
    assert all(
        (record["kind"], record["metric"], record["cancel"]) == ("live", "query", "nothing") for record in records
    )
    assert [record["policy"] for record in records] == ["none", "collage", "cheap"]  # the experiment's order
    assert [record["code"] for record in records] == ["none", "collage", "cheap"]
    assert [record["grid"] for record in records] == [None, 3, None]
    assert [record["capacity"] for record in records] == [0, 9, 1]
    assert [record["default"] for record in records] == [False, True, False]


def test_an_interval_covers_its_figure_and_widens_with_what_blocks_differ_by() -> None:
    (steady,) = rows_of(blocks("collage", slow=0.005))
    uneven_turns = [
        turn("collage", block, (np.full(1000, 0.05) * (1 + 10 * (block == 3))).tolist()) for block in range(4)
    ]
    (uneven,) = rows_of(uneven_turns)

    for row in (steady, uneven):
        assert row.p50_low <= row.p50 <= row.p50_high
        assert row.p99_low <= row.p99 <= row.p99_high
        assert row.p999_low <= row.p999 <= row.p999_high
    assert uneven.p99_high - uneven.p99_low > 0.4
    assert steady.p99_high - steady.p99_low < 0.1


@pytest.mark.parametrize(("load", "extra", "overloaded"), [(0.3, 2.5, True), (0.3, 1.0, False), (0.97, 0.0, True)])
def test_a_policy_that_asks_for_all_of_the_workers_time_is_marked(load: float, extra: float, overloaded: bool) -> None:
    ones = blocks("cheap", single_seconds=10.0, extra_seconds=10.0 * extra)
    results = [one.model_copy(update={"turn": one.turn._replace(load=load)}) for one in ones]
    rows = summarise(settings(loads=[load]), results, grid=3, cancel="nothing")

    assert [row.overloaded for row in rows] == [overloaded]
    assert ("cheap †" in markdown(rows)) is overloaded


def changed(row: Row, **changes: object) -> Row:
    return row.model_copy(update=changes)


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        ({"p99": 0.3}, "it beats `cheap`"),
        ({"p99": 0.205}, "it cannot be told from `cheap`"),
        ({"p99": 0.1}, "it is beaten by `cheap`"),
        ({"p99": 0.1, "extra_work": 1.0}, "Faster at more extra work or a lower A_o: `cheap`"),
        ({"p99": 0.1, "a_o": 0.80}, "Faster at more extra work or a lower A_o: `cheap`"),
        ({"p99": 0.195, "extra_work": 1.0}, "As fast at more extra work or a lower A_o: `cheap`"),
        ({"p99": 0.3, "extra_work": 1.0}, "it has no rival."),
    ],
)
def test_a_win_is_claimed_only_against_rivals_of_no_more_work_and_no_lower_accuracy(
    rival: dict[str, float], said: str
) -> None:
    ours, theirs = rows_of([*blocks("collage"), *blocks("cheap")])
    ours = changed(ours, p99=0.2, p99_low=0.19, p99_high=0.21, extra_work=0.2, a_o=0.93)
    theirs = changed(theirs, **({"extra_work": 0.2, "a_o": 0.93} | rival))
    theirs = changed(theirs, p99_low=theirs.p99 - 0.01, p99_high=theirs.p99 + 0.01)

    (sentence,) = verdicts([ours, theirs])
    assert said in sentence


def test_the_report_holds_the_same_figures_in_every_form(tmp_path: Path) -> None:
    results = [*blocks("none"), *blocks("collage")]
    rows = rows_of(results)
    paths = write_report(tmp_path, settings(), results, rows, {"command": "x"})

    assert all(path.stat().st_size for path in paths)
    assert json.loads((tmp_path / "made.json").read_text()) == [row.model_dump() for row in rows]
    with (tmp_path / "made" / "table.csv").open() as file:
        assert [float(line["p99"]) for line in csv.DictReader(file)] == [row.p99 for row in rows]
    text = (tmp_path / "made" / "table.md").read_text()
    assert text == markdown(rows)
    assert f"| **collage** | {rows[1].mean * 1000:.1f} |" in text
    assert (tmp_path / "made" / "latency.png").read_bytes().startswith(b"\x89PNG")
