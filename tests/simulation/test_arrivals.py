"""Arrivals: their rates, their bursts, files of timestamps."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from collage.dispatch import PRESETS
from collage.exceptions import SettingsError
from collage.simulation import make_scenario, run_point
from collage.simulation._arrivals import OpenLoop, bursty, poisson, repeated
from collage.simulation._point import make_arrivals


def test_a_poisson_stream_has_its_rate_and_exponential_gaps() -> None:
    times = np.array(list(islice(poisson(np.random.default_rng(1), 50.0), 100_000)))
    gaps = np.diff(times)
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.02)


def test_a_bursty_stream_has_the_same_rate_and_its_counts_vary_more() -> None:
    times = np.array(list(islice(bursty(np.random.default_rng(1), 50.0, 4.0, 20.0, 5.0), 400_000)))
    assert np.diff(times).min() >= 0
    assert len(times) / times[-1] == pytest.approx(50, rel=0.05)
    counts = np.histogram(times, np.arange(0.0, times[-1], 1.0))[0]
    # Rates of 31.25 and 125 with shares 0.8 and 0.2: variance of the rate 1406, beside the Poisson's own 50.
    assert counts.var() == pytest.approx(1406 + 50, rel=0.15)


def test_timestamps_begin_again_after_a_mean_gap() -> None:
    assert list(islice(repeated(np.array([0.0, 1.0, 4.0]), 0.5), 7)) == [0.0, 0.5, 2.0, 3.0, 3.5, 5.0, 6.0]


def test_timestamps_are_stretched_to_a_load(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.csv"
    path.write_text("second\n" + "\n".join(str(5 + 0.1 * index) for index in range(100)))
    values = {"workers": 4, "arrivals": {"kind": "timestamps", "path": path}}
    as_they_are = make_arrivals(make_scenario(values), np.random.default_rng(0))
    loaded = make_scenario(values | {"load": 0.5})
    stretched = make_arrivals(loaded, np.random.default_rng(0))
    for source, gap in ((as_they_are, 0.1), (stretched, 1 / loaded.rate)):
        assert isinstance(source, OpenLoop)
        assert source.arrived == 0.0
        source.pop()
        assert source.arrived == pytest.approx(gap)
    assert run_point(PRESETS["none"], loaded, queries=400, seed=1, warmup=100).answers == 400


@pytest.mark.parametrize("text", ["1\n", "1\n3\n2\n", "1\n1\n", "a\nb\n", None])
def test_timestamps_that_make_no_sense_are_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "arrivals.csv"
    if text is not None:
        path.write_text(text)
    scenario = make_scenario({"workers": 4, "arrivals": {"kind": "timestamps", "path": path}})
    with pytest.raises(SettingsError, match=r"arrivals\.csv"):
        run_point(PRESETS["none"], scenario, queries=100, seed=1)


@pytest.mark.parametrize("drain", [False, True])
def test_rounds_are_counted_whole(drain: bool) -> None:
    scenario = make_scenario({"workers": 10, "arrivals": {"kind": "rounds", "size": 9, "drain": drain}})
    point = run_point(PRESETS["collage-dedicated"], scenario, queries=1000, seed=1, warmup=100)
    assert point.queries == point.answers == 1008
    assert point.rounds.count == 112
    assert point.round_mean > point.mean
    assert point.round_p99 >= point.p99 * 0.995
