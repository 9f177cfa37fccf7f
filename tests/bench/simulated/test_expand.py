"""Lists expand to points; what cannot be meant is one line that names the file and the key."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.bench.simulated import Experiment, Size, load_experiment, points
from collage.bench.simulated._expand import changed, rows
from collage.exceptions import SettingsError

MakeExperiment = Callable[..., Experiment]


def test_every_cell_policy_knob_and_seed_is_a_point(make_experiment: MakeExperiment) -> None:
    found = points(make_experiment(), Size(queries=100, seeds=3))

    assert len(found) == 2 * (1 + 2 + 1) * 3
    assert [point.seed for point in found] == [1] * 8 + [2] * 8 + [3] * 8  # a stopped run has every row
    assert len({point.key for point in found}) == len(found)
    hedges = [point.tried for point in found if point.tried.label == "hedge" and point.seed == 1]
    assert [(row.scenario.load, row.policy.budget) for row in hedges] == [
        (0.3, 0.05),
        (0.3, 0.4),
        (0.6, 0.05),
        (0.6, 0.4),
    ]


def test_an_axis_may_change_several_things_and_has_a_place_where_its_names_are_numbers(
    make_experiment: MakeExperiment,
) -> None:
    axes = {"dear": {"1": {}, "2": {"costs.collage.ratio": 2.0, "times.scale": 0.5}, "odd": {"workers": 7}}}
    found = rows(make_experiment(axes=axes, scenario={"workers": 6, "load": 0.4}, figure={"kind": "cdf"}))

    assert list(dict.fromkeys(row.cell for row in found)) == [
        (("dear", 1.0),), (("dear", 2.0),), (("dear", "odd"),)
    ]  # fmt: skip
    second = next(row for row in found if row.cell == (("dear", 2.0),)).scenario
    assert (second.costs["collage"].ratio, second.times.scale, second.workers) == (2.0, 0.5, 6)
    assert found[-1].scenario.workers == 7


def test_a_policy_may_have_a_fleet_of_its_own_and_knobs_of_the_scenario(make_experiment: MakeExperiment) -> None:
    policies = [
        {"preset": "replicate", "scenario": {"workers": 12}},
        {"preset": "collage", "sweep": {"grid": [2, 4], "scenario.costs.collage.ratio": [0.5, 1.0]}},
    ]
    found = rows(make_experiment(policies=policies, axes={"load": [0.5]}))

    assert found[0].scenario.workers == 12
    swept = [(row.grid, row.capacity, row.scenario.costs["collage"].ratio) for row in found[1:]]
    assert swept == [(2, 4, 0.5), (2, 4, 1.0), (4, 16, 0.5), (4, 16, 1.0)]
    assert found[2].value("costs.collage.ratio") == 1.0
    assert found[0].value("costs.collage.ratio") is None


def test_more_workers_meet_the_same_arrivals(make_experiment: MakeExperiment) -> None:
    policies = [{"preset": "none"}, {"preset": "none", "workers": "+2"}, {"preset": "replicate", "workers": "x2"}]
    found = rows(make_experiment(policies=policies, axes={"load": [0.5]}))
    assert [row.scenario.workers for row in found] == [6, 8, 12]
    assert len({round(row.scenario.rate or 0, 9) for row in found}) == 1
    assert {row.cell for row in found} == {(("load", 0.5),)}


def test_an_axis_may_change_the_grid(make_experiment: MakeExperiment) -> None:
    axes = {"load": [0.5], "images": {"4": {"grid": 2, "workers": 4}, "16": {"grid": 4, "workers": 16}}}
    found = rows(make_experiment(axes=axes, policies=[{"preset": "collage"}]))
    assert [(row.grid, row.scenario.workers, row.value("images")) for row in found] == [(2, 4, 4.0), (4, 16, 16.0)]


def test_a_policy_may_choose_among_grids(make_experiment: MakeExperiment) -> None:
    found = rows(make_experiment(axes={"load": [0.5]}, policies=[{"preset": "collage", "grid": [2, 4]}]))
    assert [(row.grid, row.capacity) for row in found] == [((2, 4), 16)]


@pytest.mark.parametrize(
    "changes",
    [
        {"queries": 401},
        {"warmup": 201},
        {"scenario": {"workers": 5}},
        {"policies": [{"preset": "none", "settings": {"memory": 500}}]},
    ],
)
def test_a_point_is_known_by_all_that_its_result_depends_on(
    make_experiment: MakeExperiment, changes: dict[str, object]
) -> None:
    before = {point.key for point in points(make_experiment(), make_experiment().size("usual"))}
    after = make_experiment(**changes)
    assert not before & {point.key for point in points(after, after.size("usual"))}


def test_a_point_is_known_by_what_is_in_the_files_that_it_reads(
    make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    path = tmp_path / "outcomes.csv.gz"

    def keys(image: int) -> list[str]:
        path.write_bytes(gzip.compress(f"image,label,answer,confidence\n0,3,{image},0.9\n".encode()))
        experiment = make_experiment(scenario={"workers": 6, "outcomes": {"single": str(path)}})
        return [point.key for point in points(experiment, Size(queries=100, seeds=1))]

    before = keys(3)
    assert keys(3) == before
    assert not set(keys(4)) & set(before)


def test_names_and_questions_are_not_part_of_a_point(make_experiment: MakeExperiment) -> None:
    size = Size(queries=100, seeds=1)
    one, other = make_experiment(), make_experiment(name="other", title="Another", question="Why?")
    assert [point.key for point in points(one, size)] == [point.key for point in points(other, size)]


@given(st.dictionaries(st.from_regex(r"[a-c](\.[a-c]){0,2}", fullmatch=True), st.integers(), max_size=1))
def test_changes_reach_their_key_and_leave_the_base_alone(changes: dict[str, int]) -> None:
    base = {"a": {"b": {"c": 1}}, "b": 2}
    made = changed(base, changes)
    assert base == {"a": {"b": {"c": 1}}, "b": 2}
    for key, value in changes.items():
        found: object = made
        for part in key.split("."):
            assert isinstance(found, dict)
            found = found[part]
        assert found == value


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("queries = 400", "queries = 4", "queries"),
        ("queries = 400", "querys = 400", "querys"),
        ("workers = 6", "workers = 0", "scenario: workers"),
        ("workers = 6", "wokers = 6", "scenario: wokers"),
        ("load = [0.3, 0.6]", "load = [0.3, 3.0]", "load = 3.0"),
        ("load = [0.3, 0.6]", "load = [0.3, 0.3]", "axes.load: each value once"),
        ("load = [0.3, 0.6]", "load = []", "axes.load"),
        ('preset = "none"', 'preset = "nome"', "nome"),
        ("budget = [0.05, 0.4]", "budgit = [0.05]", "budgit"),
        ("budget = [0.05, 0.4]", "budget = []", "budget"),
        ("budget = [0.05, 0.4]", "grid = [9]", "policies.1: grid"),
        ('within = "collage 2x2"', 'within = "collage"', "policies.1.within"),
        ("tune = {", "sweep = {", "within"),
        ('x = "load"', 'x = "load"\npanels = "workers"', "figure.panels"),
        ('y = ["p99", "std"]', 'y = ["p98"]', "p98"),
        ('x = "load"', "", "figure: x"),
        ('kind = "lines"', 'kind = "map"', "figure.y"),
        ('kind = "lines"', 'kind = "pie"', "figure.kind"),
        ("[scenario]", "[scenario", "not valid TOML"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it_and_the_key(config: Path, old: str, new: str, said: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    with pytest.raises(SettingsError) as error:
        load_experiment(config)
    message = str(error.value)
    assert message.startswith(f"{config}: ")
    assert said in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load_experiment(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(Path("experiments/tail").glob("*.toml")), ids=lambda path: path.stem)
def test_the_experiments_that_are_shipped_can_be_run(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert experiment.question.endswith("?")
    assert experiment.full.queries >= 100_000
    assert experiment.full.seeds >= 5
