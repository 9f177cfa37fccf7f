"""The order of turns, and what each is sent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.bench import BenchSettings, load_bench
from collage.bench._plan import Turn, generator, traffic, turns
from collage.dispatch import PRESETS
from collage.exceptions import SettingsError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def settings(**changes: object) -> BenchSettings:
    given = {"name": "plan", "policies": ["none", "hedge", "collage"], "loads": [0.3, 0.7], "blocks": 4}
    return BenchSettings.model_validate(given | changes)


@given(
    policies=st.lists(st.sampled_from(sorted(PRESETS)), min_size=1, max_size=6, unique=True),
    loads=st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7]), min_size=1, max_size=3, unique=True),
    blocks=st.integers(1, 12),
)
def test_every_policy_takes_a_turn_in_every_block_of_every_cell(
    policies: list[str], loads: list[float], blocks: int
) -> None:
    experiment = settings(policies=policies, loads=loads, blocks=blocks, stragglers=["iid", "episodes"])
    order = list(turns(experiment))

    assert len(set(order)) == len(order) == 2 * len(loads) * blocks * len(policies)
    for start in range(0, len(order), len(policies)):
        together = order[start : start + len(policies)]
        assert {turn.policy for turn in together} == set(policies)
        assert len({(turn.cell, turn.block) for turn in together}) == 1


def test_policies_take_turns_at_going_first() -> None:
    experiment = settings(blocks=6)
    order = list(turns(experiment))
    first = Counter(turn.policy for turn in order[:: len(experiment.policies)])

    assert first == {"none": 4, "hedge": 4, "collage": 4}


def test_a_block_is_the_same_for_every_policy_and_differs_between_blocks() -> None:
    experiment = settings()
    one, other = (Turn("iid", 0.3, 0, policy) for policy in ("none", "collage"))

    assert all(
        (a == b).all() for a, b in zip(traffic(experiment, one, 50), traffic(experiment, other, 50), strict=True)
    )
    assert generator(experiment, one, "times").random() == generator(experiment, other, "times").random()
    for changed in (one._replace(block=1), one._replace(load=0.7), one._replace(straggler="episodes")):
        assert not (traffic(experiment, one, 50).images == traffic(experiment, changed, 50).images).all()


@pytest.mark.parametrize("straggler", ["iid", "episodes"])
def test_arrivals_have_the_loads_rate(straggler: str) -> None:
    experiment = settings(requests=40_000, stragglers=[straggler])
    sent = traffic(experiment, next(turns(experiment)), 10)
    gaps = np.diff(sent.arrivals)
    mean = experiment.service_times(experiment.stragglers[0]).mean

    assert 1 / gaps.mean() * mean / experiment.workers == pytest.approx(0.3, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # exponential
    assert set(sent.images) == set(range(10))


def test_the_shipped_experiments_are_sound_and_last_as_long_as_they_say() -> None:
    full, quick = (load_bench(EXPERIMENTS / f"{name}.toml") for name in ("tail-live", "tail-live-quick"))

    assert full.blocks * full.requests >= 10_000
    assert {"none", "replicate", "hedge", "cheap", "collage", "collage-dedicated"} <= set(full.policies)
    assert full.seconds < 45 * 60  # beside it, queues run empty and workers start
    assert quick.seconds < 60


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policies": ["none", "nope"]}, "nope: no such preset"),
        ({"policies": ["none", "none"]}, "each value once"),
        ({"loads": [0.0]}, "loads"),
        ({"requests": 1}, "requests"),
        ({"wokers": 3}, "wokers"),
        ({"times": {"scale": 0}}, "times.scale"),
        ({"overrides": {"nope": {}}}, "nope: no such preset"),
        ({"overrides": {"collage": {"no_such_setting": 1}}}, "no_such_setting"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_its_key(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "experiment.toml"
    values = {"name": "bad", "policies": ["none"], "loads": [0.5]} | changes
    path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in values.items()))

    with pytest.raises(SettingsError, match=message):
        load_bench(path)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return repr(value).replace("'", '"')


@pytest.mark.parametrize("content", [None, "name = ", "name = 'x'"])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "experiment.toml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=r"experiment\.toml"):
        load_bench(path)
