"""The script that compares predictors of speed: on times whose best predictor is known, and the net's own gradient."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "speed_prediction.py"
    spec = importlib.util.spec_from_file_location("speed_prediction", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_autoregression_is_found_where_the_times_are_one(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "EPOCHS", 5)
    rng, excess = np.random.default_rng(1), [0.0]
    for noise in rng.normal(0, 0.1, 12_000):
        excess.append(0.5 * excess[-1] + noise)
    found = script.errors(1.0 + np.array(excess))
    rmse = {name: row["rmse"] for name, row in found.items()}
    assert rmse["ar-1"] == pytest.approx(0.1, rel=0.03)  # what is left is the noise
    assert rmse["ar-1"] < 0.95 * min(rmse["mean"], rmse["last"])
    assert rmse["dispatcher"] == pytest.approx(rmse["ar-1"], rel=0.02)
    assert rmse["lstm"] == pytest.approx(rmse["ar-1"], rel=0.05)


def test_the_nets_gradient_is_that_of_its_error(script: ModuleType) -> None:
    rng = np.random.default_rng(2)
    x, after = rng.normal(size=50), rng.normal(size=50)
    net = script.Lstm(3)
    for number, slopes in enumerate(net.gradient(x, after)):
        for place in np.ndindex(slopes.shape):
            ends = []
            for step in (1e-6, -2e-6):
                net.weights[number][place] += step
                ends.append(((net(x) - after) ** 2).mean() / 2)
            net.weights[number][place] += 1e-6
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slopes[place], abs=1e-7)


def test_no_prediction_looks_into_another_block(script: ModuleType) -> None:
    times = np.arange(2500.0)
    past, after = script.windows(times, [0, 2])
    assert len(past) == len(after) == 950 + 450
    assert (after - past[:, -1] == 1).all()
    assert ((past[:, 0] // 1000) == (after // 1000)).all()
