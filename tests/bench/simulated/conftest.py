"""A small experiment, as a value and as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collage.bench.simulated import Experiment

MakeExperiment = Callable[..., Experiment]

SMALL: dict[str, Any] = {
    "name": "small",
    "title": "A small experiment",
    "queries": 400,
    "seeds": 2,
    "warmup": 200,
    "quick": {"queries": 200, "seeds": 1},
    "scenario": {"workers": 6},
    "axes": {"load": [0.3, 0.6]},
    "policies": [
        {"preset": "none"},
        {"preset": "hedge", "tune": {"budget": [0.05, 0.4]}, "within": "collage 2x2"},
        {"preset": "collage", "label": "collage 2x2", "grid": 2, "ours": True},
    ],
    "figure": {"kind": "lines", "x": "load", "y": ["p99", "std"]},
}

FILE = """\
name = "small"
title = "A small experiment"
question = "Is <this> & that all right?"
queries = 400
seeds = 2
warmup = 200
quick = { queries = 200, seeds = 1 }

[scenario]
workers = 6

[axes]
load = [0.3, 0.6]

[[policies]]
preset = "none"

[[policies]]
preset = "hedge"
tune = { budget = [0.05, 0.4] }
within = "collage 2x2"

[[policies]]
preset = "collage"
label = "collage 2x2"
grid = 2
ours = true

[figure]
kind = "lines"
x = "load"
y = ["p99", "std"]
"""


@pytest.fixture
def make_experiment() -> MakeExperiment:
    """The small experiment; keywords change it."""
    return lambda **changes: Experiment.model_validate(SMALL | changes)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Its file."""
    path = tmp_path / "small.toml"
    path.write_text(FILE)
    return path
