"""Points are run once, kept at once, and the same on any number of processes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import collage.bench.simulated._run as run_module
from collage.bench.simulated import Experiment, Point, PointJournal, Step, points, run_points, summarise, total_queries
from collage.exceptions import SettingsError
from collage.simulation import PointResult

MakeExperiment = Callable[..., Experiment]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each point was really run."""
    ran: Counter[str] = Counter()
    real = run_module._run

    def run(point: Point, progress: Callable[[int], None]) -> PointResult:
        ran[point.key] += 1
        return real(point, progress)

    monkeypatch.setattr(run_module, "_run", run)
    return ran


def asked(experiment: Experiment) -> list[Point]:
    return points(experiment, experiment.size("usual"))


def test_a_stopped_run_goes_on_and_no_point_is_run_twice(
    make_experiment: MakeExperiment, tmp_path: Path, counted: Counter[str]
) -> None:
    path, all_points = tmp_path / "x.jsonl", asked(make_experiment())
    done = 0

    def stop(step: Step) -> None:
        nonlocal done
        done += step.done is not None
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_points(all_points, PointJournal(path), on_step=stop)
    assert counted.total() == 5
    steps: list[Step] = []
    run_points(all_points, PointJournal(path), on_step=steps.append)
    assert set(counted.values()) == {1}
    assert counted.total() == len(all_points)
    assert steps[-1].queries == total_queries(all_points) == len(all_points) * 600
    assert [step.queries for step in steps] == sorted(step.queries for step in steps)


def test_a_line_that_a_kill_tore_is_run_again(
    make_experiment: MakeExperiment, tmp_path: Path, counted: Counter[str]
) -> None:
    path, all_points = tmp_path / "x.jsonl", asked(make_experiment(seeds=1))
    run_points(all_points, PointJournal(path))
    path.write_bytes(path.read_bytes()[:-20])
    run_points(all_points, PointJournal(path))
    assert counted.total() == len(all_points) + 1
    assert len(path.read_text().splitlines()) == len(all_points)


def test_what_has_changed_is_run_and_the_rest_is_kept(
    make_experiment: MakeExperiment, tmp_path: Path, counted: Counter[str]
) -> None:
    path = tmp_path / "x.jsonl"
    run_points(asked(make_experiment(seeds=1)), PointJournal(path))
    before = counted.total()
    more = make_experiment(seeds=1, axes={"load": [0.3, 0.6, 0.8]})
    run_points(asked(more), PointJournal(path))
    assert counted.total() == before + 4  # of the new load


def test_points_that_are_the_same_are_run_once(make_experiment: MakeExperiment, counted: Counter[str]) -> None:
    twice = make_experiment(policies=[{"preset": "none"}, {"preset": "none", "label": "again"}], seeds=1)
    journal = PointJournal()
    run_points(asked(twice), journal)
    assert counted.total() == 2
    rows, _ = summarise(twice, asked(twice), journal)
    assert [row.label for row in rows] == ["none", "again"] * 2


def test_results_survive_the_journal_and_are_the_same_on_two_processes(
    make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    experiment = make_experiment(seeds=1)
    here, beside = PointJournal(tmp_path / "here.jsonl"), PointJournal(tmp_path / "beside.jsonl")
    steps: list[Step] = []
    run_points(asked(experiment), here)
    run_points(asked(experiment), beside, jobs=2, on_step=steps.append)
    again = PointJournal(tmp_path / "beside.jsonl")
    for point in asked(experiment):
        assert here.find(point) == beside.find(point) == again.find(point) is not None
    assert steps[-1].queries == total_queries(asked(experiment))
    assert sum(step.done is not None for step in steps) == len(asked(experiment))


def test_an_error_in_another_process_is_that_error(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    gone = {"single": str(tmp_path / "gone.csv.gz")}
    experiment = make_experiment(scenario={"workers": 6, "outcomes": gone})
    with pytest.raises(SettingsError, match=r"gone\.csv\.gz"):
        run_points(asked(experiment), PointJournal(), jobs=2)


@pytest.mark.parametrize("content", ["[]\n", "nonsense\n", json.dumps({"key": "x"}) + "\n"])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"x\.jsonl"):
        PointJournal(path)


def test_results_of_an_older_form_are_run_anew_and_what_is_none_is_refused(
    make_experiment: MakeExperiment, tmp_path: Path, counted: Counter[str]
) -> None:
    path, all_points = tmp_path / "x.jsonl", asked(make_experiment(seeds=1))
    run_points(all_points, PointJournal(path))
    first, *others = path.read_text().splitlines()
    old = json.loads(first)
    old["result"] = {"queries": 400, "a_field_of_old": 1}
    path.write_text("\n".join([json.dumps(old), *others]) + "\n")
    run_points(all_points, PointJournal(path))
    assert sorted(counted.values()) == [1] * (len(all_points) - 1) + [2]
    path.write_text('{"something": "else"}\n')
    with pytest.raises(SettingsError, match="is no journal of simulated points"):
        PointJournal(path)
