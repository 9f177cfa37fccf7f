"""Scenarios: what is wrong is named, what is changed is checked, loads and costs mean what they say."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import PRESETS, Source, get_policy
from collage.exceptions import SettingsError
from collage.simulation import (
    Scenario,
    interval,
    load_profile,
    lognormal,
    make_scenario,
    pareto,
    run_point,
    shifted_exponential,
)
from collage.simulation._histogram import HistogramBuilder, LatencyHistogram

CONSTANT = {"kind": "shifted-exponential", "shift": 0.1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "scenario: load: poisson arrivals need it"),
        ({"load": 0}, "scenario: load: "),
        ({"load": 0.5, "worker": 4}, "scenario: worker: "),
        ({"load": 0.5, "arrivals": {"kind": "rounds"}}, "load: rounds come when the last one is over"),
        ({"load": 0.5, "arrivals": {"kind": "often"}}, "scenario: arrivals: "),
        ({"load": 0.5, "times": {"kind": "pareto", "least": 1, "alpha": 1}}, "scenario: times.pareto.alpha: "),
        ({"load": 0.5, "pauses": {"every": 1, "seconds": 1}}, "pauses.seconds: "),
        ({"load": 0.5, "costs": {"big": {"ratio": 1}}}, "scenario: costs: 'big' is no model"),
        ({"load": 0.5, "costs": {"collage-3x4": {"ratio": 1}}}, "scenario: costs: 'collage-3x4' is no model"),
        ({"load": 0.5, "outcomes": {"collage": "x"}}, "outcomes.single: is needed"),
        ({"load": 0.5, "oracle": True, "no_stragglers": True}, "oracle: there is nothing to foresee"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)) as error:
        make_scenario(values)
    assert "\n" not in str(error.value)


def test_every_field_says_what_it_is() -> None:
    def undescribed(part: dict[str, Any]) -> list[str]:
        return [name for name, field in part.get("properties", {}).items()
                if name != "kind" and "description" not in field]  # fmt: skip

    schema = Scenario.model_json_schema()
    assert not undescribed(schema)
    assert {name: missing for name, part in schema["$defs"].items() if (missing := undescribed(part))} == {}


def test_values_deep_inside_are_changed_and_checked() -> None:
    scenario = make_scenario({"load": 0.5, "times": {"kind": "profile"}, "costs": {"cheap": {"ratio": 0.2}}})
    changed = scenario.changed(load=0.7, **{"times.slow_factor": 2.0, "costs.cheap.overhead": 0.1})
    assert (changed.load, changed.times.slow_factor, changed.costs["cheap"].overhead) == (0.7, 2.0, 0.1)
    assert scenario.load == 0.5
    assert scenario.changed() == scenario
    with pytest.raises(SettingsError, match=r"scenario: times\.profile\.slow: "):
        scenario.changed(**{"times.slow": 1})
    with pytest.raises(SettingsError, match=r"pauses is absent"):
        scenario.changed(**{"pauses.every": 1})


def test_a_call_costs_by_model_by_size_and_by_its_queries() -> None:
    costs = {"collage": {"ratio": 0.6}, "collage-4x4": {"ratio": 0.9}, "batch": {"ratio": 0.0, "per_query": 0.1}}
    scenario = make_scenario({"load": 0.5, "costs": costs, "overhead_share": 0.5})
    assert scenario.cost(Source.SINGLE, 3).of(2.0) == 2.0
    assert scenario.cost(Source.REPLICA, 3).of(2.0) == 2.0
    assert scenario.cost(Source.COLLAGE, 3).of(2.0) == pytest.approx(2.0 * 0.8)
    assert scenario.cost(Source.COLLAGE, 4).of(2.0) == pytest.approx(2.0 * 0.95)
    assert scenario.cost(Source.BATCH, 3).of(2.0, 4) == pytest.approx(2.0 * (0.5 + 0.5 * 0.4))
    assert scenario.cost(Source.PARITY, 2).of(2.0) == 2.0
    assert scenario.cost(Source.CHEAP, 1).of(2.0) == pytest.approx(2.0 * (0.5 + 0.5 * 0.11) + 0.015)


def test_load_counts_a_single_with_its_overhead_and_its_slowness() -> None:
    slow = {"factor": 3, "normal_seconds": 2, "slow_seconds": 1}
    scenario = make_scenario({
        "workers": 8, "load": 0.5, "times": CONSTANT, "costs": {"single": {"overhead": 0.1}}, "slowdowns": [slow],
    })  # fmt: skip
    assert scenario.mean == pytest.approx(0.2 / ((2 + 1 / 3) / 3))
    assert scenario.rate == pytest.approx(0.5 * 8 / scenario.mean)


def test_without_stragglers_the_rate_stays_and_the_slow_mode_goes() -> None:
    slow = [{"factor": 9, "normal_seconds": 20, "slow_seconds": 1}]
    for kind in ({"kind": "profile"}, {"kind": "episodes"}, {"kind": "lognormal", "median": 0.1, "sigma": 1.0}):
        scenario = make_scenario({"workers": 10, "load": 0.3, "times": kind, "slowdowns": slow})
        ideal = scenario.changed(no_stragglers=True)
        assert ideal.rate == scenario.rate
        point = run_point(PRESETS["none"], ideal, queries=2000, seed=1)
        usual = run_point(PRESETS["none"], scenario, queries=2000, seed=1)
        assert point.p999 < 0.7 * usual.p999
        assert point.p999 < 2 * scenario.times.build().slow_above


def test_a_profile_with_another_share_and_severity() -> None:
    profile = load_profile("resnet34-cpu")
    changed = profile.straggling(0.05, 2.0)
    assert profile.slow is not None
    assert changed.mean == pytest.approx(0.95 * profile.normal.mean + 0.05 * 2 * profile.slow.mean)
    assert profile.straggling(0.0).slow is None
    with pytest.raises(SettingsError, match="slow_factor"):
        profile.straggling(0.05, 0.01)


@pytest.mark.parametrize(
    "times", [lognormal(0.2, 0.7), pareto(0.1, 3.0), shifted_exponential(0.1, 0.2)], ids=["lognormal", "pareto", "exp"]
)
def test_distributions_have_their_mean_and_median_and_can_do_without_their_tail(times: Any) -> None:
    stream = times.worker(np.random.default_rng(1))
    drawn = np.array([stream.draw(0.0) for _ in range(100_000)])
    assert drawn.mean() == pytest.approx(times.mean, rel=0.03)
    assert np.median(drawn) == pytest.approx(times.median, rel=0.02)
    assert drawn.max() > times.slow_above
    steady = times.steady(np.random.default_rng(1))
    assert max(steady.draw(0.0) for _ in range(20_000)) <= times.slow_above


def outcomes(path: Path, answers: list[tuple[int, float]], labels: list[int], tiles: int = 1) -> Path:
    """One row an image, or with more tiles one for each tile of each."""
    header = "image,label,answer,confidence" + (",tile" if tiles > 1 else "")
    rows = [
        f"{row // tiles},{labels[row // tiles]},{answer},{sure}" + (f",{row % tiles}" if tiles > 1 else "")
        for row, (answer, sure) in enumerate(answers)
    ]
    path.write_bytes(gzip.compress("\n".join([header, *rows]).encode()))
    return path


def test_accuracy_is_what_the_outcomes_say(tmp_path: Path) -> None:
    # Images 0..3: the single is right on the first three; the collage on 0 and 3, and says nothing of 1.
    single = outcomes(tmp_path / "single.csv.gz", [(0, 0.9), (1, 0.8), (2, 0.7), (0, 0.6)], [0, 1, 2, 3])
    tiled = outcomes(tmp_path / "collage.csv.gz", [(0, 0.9), (-1, 0.0), (1, 0.5), (3, 0.9)], [0, 1, 2, 3])
    files = {"single": single, "collage": tiled}
    scenario = make_scenario({"workers": 10, "load": 0.5, "outcomes": files})
    plain = run_point(PRESETS["none"], scenario, queries=4000, seed=1)
    assert plain.a_o == plain.a_a == pytest.approx(0.75, abs=0.03)
    assert (plain.images, plain.gained, plain.accuracy_loss) == (4, {}, 0)

    eager = get_policy("collage", accept="first", trigger_quantile=0.0, budget=1.0)
    point = run_point(eager, scenario, queries=4000, seed=1)
    assert point.a_a == plain.a_a
    degraded = point.answered[Source.COLLAGE]
    assert degraded > 400
    # Of images 0, 2 and 3, one in three each: as good on 0, worse on 2, better on 3.
    assert set(point.gained) == {2, 3}
    assert point.gained[2] == pytest.approx(-degraded / 3, rel=0.15)
    assert point.gained[3] == pytest.approx(degraded / 3, rel=0.15)
    assert sum(point.gained.values()) == point.right_given - point.right_single


def test_a_paritys_answers_are_as_right_as_its_outcomes_say_and_come_when_they_came(tmp_path: Path) -> None:
    """What is read of a parity says nothing of when: with outcomes, all is decided as without."""
    single = outcomes(tmp_path / "single.csv.gz", [(label, 0.9) for label in range(4)], [0, 1, 2, 3])
    # The mean over the positions that may be missing is what an evaluation writes: half of these are wrong.
    parity = outcomes(tmp_path / "parity.csv.gz", [(0, 0.9), (0, 0.8), (2, 0.7), (0, 0.6)], [0, 1, 2, 3])
    plain = {"workers": 10, "load": 0.4}
    measured = plain | {"outcomes": {"single": single, "parity-k2": parity}}
    without, found = (
        run_point(PRESETS["parity"], make_scenario(given), queries=4000, seed=1, k=2) for given in (plain, measured)
    )
    assert found.latencies == without.latencies
    assert found.answered == without.answered
    assert found.extra_seconds == without.extra_seconds
    assert found.a_a == 1.0
    assert found.a_o == pytest.approx(1 - found.degraded_share / 2, abs=0.005)
    with pytest.raises(SettingsError, match=r"outcomes.parity: is needed"):
        run_point(PRESETS["parity"], make_scenario(measured), queries=100, seed=1, k=3)


def test_a_collage_may_have_outcomes_by_tile(tmp_path: Path) -> None:
    single = outcomes(tmp_path / "single.csv.gz", [(0, 0.9)] * 4, [0] * 4)
    by_tile = outcomes(tmp_path / "collage.csv.gz", [(0, 0.9), (1, 0.9), (1, 0.9), (1, 0.9)] * 4, [0] * 4, tiles=4)
    scenario = make_scenario({"workers": 10, "load": 0.5, "outcomes": {"single": single, "collage-2x2": by_tile}})
    point = run_point(get_policy("collage"), scenario, queries=3000, seed=1, grid=2)
    assert 0 < point.a_a - point.a_o < point.degraded_share  # right at the first tile only


@pytest.mark.parametrize("spoilt", ["absent", "text", "hole", "other", "unneeded"])
def test_outcomes_that_cannot_be_used_are_refused(tmp_path: Path, spoilt: str) -> None:
    single = outcomes(tmp_path / "single.csv.gz", [(0, 0.9), (1, 0.9)], [0, 1])
    collage = tmp_path / "collage.csv.gz"
    if spoilt == "text":
        collage.write_text("image,label\n")
    elif spoilt == "hole":
        collage.write_bytes(gzip.compress(b"image,label,answer,confidence\n0,0,0,1\n2,1,1,1\n"))
    elif spoilt == "other":
        outcomes(collage, [(0, 0.9), (1, 0.9)], [1, 1])
    files = {"single": single} | ({} if spoilt == "unneeded" else {"collage": collage})
    scenario = make_scenario({"workers": 4, "load": 0.5, "outcomes": files})
    with pytest.raises(SettingsError, match="collage"):
        run_point(PRESETS["collage"], scenario, queries=100, seed=1)


def test_a_histogram_knows_its_quantiles_and_adds_up() -> None:
    times = np.random.default_rng(1).lognormal(-2, 1, 50_000)
    halves = []
    for part in (times[:20_000], times[20_000:]):
        builder = HistogramBuilder()
        for time in part.tolist():
            builder.add(time)
        halves.append(builder.build())
    whole = LatencyHistogram.merged(halves)
    assert whole.count == 50_000
    assert whole.mean == pytest.approx(times.mean())
    assert whole.std == pytest.approx(times.std())
    for share in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        assert whole.quantile(share) == pytest.approx(np.quantile(times, share), rel=0.005)
    seconds, shares = whole.cdf()
    assert shares[0] == 0
    assert shares[-1] == 1
    assert np.interp(whole.quantile(0.9), seconds, shares) == pytest.approx(0.9, abs=0.002)


def test_an_interval_is_students() -> None:
    mean, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert half == pytest.approx(2.776 * np.sqrt(2.5 / 5))
