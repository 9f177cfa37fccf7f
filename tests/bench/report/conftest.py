"""Results of small real runs: lines, a map, and a live bench's rows beside them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from collage.bench.report import write_result
from collage.bench.simulated import Experiment, PointJournal, points, run_points, summarise

LINES: dict[str, Any] = {
    "name": "lines",
    "title": "Busier and busier",
    "question": "Is <this> & that all right?",
    "queries": 800,
    "seeds": 2,
    "warmup": 300,
    "scenario": {"workers": 8},
    "axes": {"load": [0.3, 0.6]},
    "policies": [
        {"preset": "none"},
        {"preset": "replicate"},
        {"preset": "hedge", "tune": {"budget": [0.05, 0.4]}, "within": "collage"},
        {"preset": "cheap"},
        {"preset": "collage", "ours": True},
        {"preset": "none", "label": "no-stragglers", "scenario": {"no_stragglers": True}},
    ],
    "figure": {"kind": "lines", "x": "load", "y": ["p99", "p999"], "log_y": True},
}
OTHERS: dict[str, dict[str, Any]] = {
    "map": {
        "axes": {"load": [0.3, 0.6], "overhead_share": [0.0, 0.5], "times.slow_share": [0.01, 0.1]},
        "figure": {"kind": "map", "x": "load", "y": ["overhead_share"], "panels": "times.slow_share"},
        "policies": [{"preset": "none"}, {"preset": "cheap"}, {"preset": "collage"}],
        "seeds": 1,
    },
    "cdf": {"figure": {"kind": "cdf", "panels": "load"}, "seeds": 1},
    "frontier": {
        "figure": {"kind": "frontier", "panels": "load"},
        "policies": [{"preset": "none"}, {"preset": "hedge", "sweep": {"budget": [0.05, 0.2]}}, {"preset": "collage"}],
    },
    "rounds": {
        "scenario": {"arrivals": {"kind": "rounds", "size": 4}},
        "axes": {},
        "policies": [
            {"preset": "none", "scenario": {"workers": 4}},
            {"preset": "collage-dedicated", "grid": 2, "scenario": {"workers": 5}, "ours": True},
        ],
        "figure": {"kind": "bars", "x": "arrivals.size", "y": ["round_mean", "round_p99"]},
    },
    "sweep": {
        "policies": [
            {"preset": "none"},
            {"preset": "collage", "sweep": {"patience_quantile": [0.5, 0.95]}, "ours": True},
        ],
        "figure": {"kind": "lines", "x": "patience_quantile", "y": ["p99", "degraded_share"], "panels": "load"},
    },
}


def run_into(folder: Path, **changes: Any) -> Experiment:
    """Run the small experiment, changed, and write what it leaves into a folder of its name."""
    experiment = Experiment.model_validate(LINES | changes)
    asked, journal, size = points(experiment, experiment.size("usual")), PointJournal(), experiment.size("usual")
    run_points(asked, journal)
    rows, merged = summarise(experiment, asked, journal)
    command = f"collage simulate --config {experiment.name}.toml"
    write_result(folder / experiment.name, experiment, size, rows, merged, command=command)
    return experiment


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results: every kind of figure, a live bench, and what the models are worth."""
    folder = tmp_path_factory.mktemp("results")
    run_into(folder)
    for name, changes in OTHERS.items():
        run_into(folder, name=name, title=f"Of kind {name}", **changes)
    for name in ("tail-live.json", "accuracy.json"):
        shutil.copy(Path("results") / name, folder / name)
    (folder / "tail-live").mkdir()
    shutil.copy("results/tail-live/latency.png", folder / "tail-live")
    return folder
