"""Tuning, fairness, and which policy is right: on rows whose answer is known."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collage.bench.figures._lines import draw_lines
from collage.bench.simulated import (
    Estimate,
    Experiment,
    MapRule,
    PointJournal,
    SimulatedRow,
    choices,
    compare_rows,
    points,
    run_points,
    summarise,
)
from collage.bench.simulated._tune import mark_kept

MakeExperiment = Callable[..., Experiment]


def row(label: str, p99: float, work: float = 0.1, *, entry: int = 0, change: float = 0.0, **more: Any) -> SimulatedRow:
    def estimate(value: float, half: float = 0.0) -> Estimate:
        return Estimate(value=value, low=value - half, high=value + half)

    values: dict[str, Any] = {
        "experiment": "x", "cell": (("load", 0.5),), "label": label, "preset": label, "entry": entry, "knobs": (),
        "default": False, "ours": label == "ours", "yardstick": False, "code": "none" if label == "none" else "replica",
        "straggler": "iid", "cancel": "nothing", "load": 0.5, "workers": 10, "grid": None, "capacity": 1,
        "metric": "query", "seeds": [1], "requests": 100, "rejected": 0, "overloaded": False, "scale": 1.0,
        "sources": {}, "a_o": 0.9 + change, "a_a": 0.9, "backups_per_query": 0.1, "worker_seconds": 0.2,
        "metrics": {
            "p99": estimate(p99, more.pop("half", 0.0)), "extra_work": estimate(work),
            "accuracy_change": estimate(change), "degraded_share": estimate(0.0),
        },
    }  # fmt: skip
    return SimulatedRow.model_validate(values | more)


@pytest.mark.parametrize(
    ("within", "best"),
    [
        (0.2, 0.2),  # the lowest p99 within the bound, and not the lowest of all
        ("ours", 0.1),  # no more than ours spends in this cell
        (None, 0.4),
        (0.01, 0.05),  # none is within it: the one that spends least
    ],
)
def test_a_tuning_keeps_the_best_that_spends_no_more(
    make_experiment: MakeExperiment, within: float | str | None, best: float
) -> None:
    entry = {"preset": "hedge", "tune": {"budget": [0.05, 0.1, 0.2, 0.4]}}
    policies = [{"preset": "collage", "label": "ours"}, entry | ({} if within is None else {"within": within})]
    experiment = make_experiment(policies=policies)
    tried = [
        row("hedge", p99, work, entry=1, knobs=(("budget", work),))
        for work, p99 in ((0.05, 0.5), (0.1, 0.4), (0.2, 0.35), (0.4, 0.3))
    ]
    other = [each.model_copy(update={"cell": (("load", 0.9),)}) for each in tried]

    rows = mark_kept(experiment, [row("ours", 0.2, 0.103), *tried, *other])

    kept = [each for each in rows if each.kept]
    assert [each.cell[0][1] for each in kept] == [0.5, 0.5, 0.9]  # one a cell
    assert dict(kept[1].knobs)["budget"] == best
    assert len(rows) == 9  # what was tried is still there


def test_wins_count_only_against_those_who_spend_no_more_and_are_as_accurate() -> None:
    ours = row("ours", 0.3, 0.1, half=0.01)
    rivals = {
        "slow": row("slow", 0.5, 0.1),
        "same": row("same", 0.305, 0.1, half=0.01),
        "better": row("better", 0.2, 0.02),
        "dear": row("dear", 0.2, 0.5),
        "wrong": row("wrong", 0.2, 0.05, change=-0.02),
        "dear-and-slow": row("dear-and-slow", 0.6, 0.5),
        "ideal": row("ideal", 0.1, 0.0, yardstick=True),
        "tried": row("tried", 0.1, 0.0, kept=False),
        "elsewhere": row("elsewhere", 0.1, 0.0, cell=(("load", 0.9),)),
        "overloaded": row("overloaded", 0.2, 0.9, overloaded=True),
    }
    found = compare_rows(ours, [ours, *rivals.values()])
    assert found.beats == [rivals["slow"]]
    assert found.level == [rivals["same"]]
    assert found.beaten_by == [rivals["better"]]
    assert found.dearer == [rivals["dear"], rivals["wrong"]]


def test_the_right_policy_is_the_fastest_within_bounds_or_as_fast_and_cheaper() -> None:
    none = row("none", 0.7, 0.0)
    rule = MapRule(most_extra_work=0.25, accuracy_loss=0.001, level=0.05)
    cheaper = row("cheap", 0.208, 0.02)
    fastest = row("collage", 0.2, 0.1)
    beyond = [row("replicate", 0.1, 1.0), row("wrong", 0.1, change=-0.01), row("over", 0.1, overloaded=True)]

    (choice,) = choices([none, cheaper, fastest, *beyond], rule)
    assert (choice.right, choice.fastest, choice.next, choice.none) == (cheaper, fastest, fastest, none)
    assert choice.gain == pytest.approx(0.7 / 0.208)

    (choice,) = choices([none, row("cheap", 0.22, 0.02), fastest], rule)
    assert choice.right == fastest
    assert choice.lead == pytest.approx(1.1)

    (choice,) = choices([none, *beyond], rule)
    assert (choice.right, choice.next) == (none, None)
    assert choices(beyond, rule) == []


def test_rows_of_real_points_have_intervals_only_where_there_are_seeds(make_experiment: MakeExperiment) -> None:
    for seeds in (1, 2):
        experiment, journal = make_experiment(seeds=seeds, axes={"load": [0.5]}), PointJournal()
        asked = points(experiment, experiment.size("usual"))
        run_points(asked, journal)
        rows, merged = summarise(experiment, asked, journal)
        assert [row.label for row in rows] == ["none", "hedge", "hedge", "collage 2x2"]
        assert [row.kept for row in rows].count(True) == 3
        for each, result in zip(rows, merged, strict=True):
            estimate = each.metrics["p99"]
            assert estimate.value == result.p99
            assert (estimate.low < estimate.value < estimate.high) == (seeds == 2)
            assert each.requests == 400 * seeds
            assert sum(each.sources.values()) == each.requests
        assert rows[0].extra_work == 0
        assert rows[-1].x == 0.5


def test_accuracy_is_compared_with_ours_on_the_same_queries(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    for model, right in (("single", 9), ("collage", 5)):
        lines = [f"{image},0,{0 if image < right else 1},0.9" for image in range(10)]
        text = "\n".join(["image,label,answer,confidence", *lines])
        (tmp_path / f"{model}.csv.gz").write_bytes(gzip.compress(text.encode()))
    files = {model: tmp_path / f"{model}.csv.gz" for model in ("single", "collage")}
    eager = {"accept": "first", "trigger_quantile": 0.0, "budget": 1.0}
    policies = [
        {"preset": "none"},
        {"preset": "collage", "settings": eager, "ours": True},
        {"preset": "none", "label": "all right", "scenario": {"outcomes": {}}},
    ]
    scenario = {"workers": 6, "outcomes": files}
    experiment = make_experiment(policies=policies, scenario=scenario, axes={"load": [0.5]}, seeds=1)
    asked, journal = points(experiment, experiment.size("usual")), PointJournal()
    run_points(asked, journal)
    (none, ours, right), _ = summarise(experiment, asked, journal)

    found = none.metrics["accuracy_to_ours"]
    assert found.value == pytest.approx(none.a_o - ours.a_o)
    assert 0 < found.value == pytest.approx(-ours.metrics["accuracy_change"].value)
    assert found.low < found.value < found.high
    assert all("accuracy_to_ours" not in row.metrics for row in (ours, right))  # with itself, of other images


def test_a_policy_that_asks_for_more_than_there_is_is_marked(make_experiment: MakeExperiment) -> None:
    policies = [{"preset": "replicate"}, {"preset": "none"}]
    experiment, journal = (
        make_experiment(policies=policies, axes={"load": [0.8]}, queries=2000, seeds=1),
        PointJournal(),
    )
    asked = points(experiment, experiment.size("usual"))
    run_points(asked, journal)
    rows, _ = summarise(experiment, asked, journal)
    assert [each.overloaded for each in rows] == [True, False]


def test_a_tuned_policy_is_one_line_and_a_swept_one_a_line_for_each_value(make_experiment: MakeExperiment) -> None:
    def tried(load: float, budget: float) -> SimulatedRow:
        return row("hedge", load, cell=(("load", load),), knobs=(("budget", budget),), load=load, x=load)

    for kind, places in (("tune", [[0.3, 0.6]]), ("sweep", [[0.3], [0.6]])):
        policies = [{"preset": "hedge", kind: {"budget": [0.05, 0.1]}}]
        experiment = make_experiment(policies=policies, figure={"kind": "lines", "x": "load", "y": ["p99"]})
        (axes,) = draw_lines(experiment, [tried(0.3, 0.05), tried(0.6, 0.1)]).axes  # another value at each load
        assert [list(line.get_xdata()) for line in axes.lines] == places
