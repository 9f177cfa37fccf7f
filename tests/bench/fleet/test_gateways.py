"""`collage fleet gateways`: the shipped experiments can be run, and a short one leaves what it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from collage.bench.simulated import load_experiment
from collage.cli import main

SHORT = """
name = "short"
title = "Two gateways"
queries = 400
seeds = 1
warmup = 200
quick = { queries = 400, seeds = 1 }
[scenario]
workers = 8
load = 0.5
[axes]
"gateways.count" = [1, 2]
[[policies]]
preset = "collage"
label = "collage, own"
scenario = { "gateways.pool" = "own" }
[[policies]]
preset = "collage"
label = "collage, lend"
scenario = { "gateways.pool" = "lend" }
[figure]
kind = "lines"
x = "gateways.count"
y = ["p99", "busiest_p99"]
"""


@pytest.mark.parametrize("path", sorted(Path("experiments/fleet").glob("gateways*.toml")), ids=lambda path: path.stem)
def test_the_shipped_experiments_can_be_run(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert experiment.question.endswith("?")
    assert all(entry.name.partition(", ")[2] == entry.scenario["gateways.pool"] for entry in experiment.policies)


def test_a_short_one_leaves_a_table_a_figure_the_command_and_its_part_of_fleet_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out, together = tmp_path / "short.toml", tmp_path / "out", tmp_path / "fleet.json"
    config.write_text(SHORT)
    together.write_text('{"ray": {"nodes": 3}}')
    words = ["--config", str(config), "--out", str(out), "--together", str(together), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr("sys.argv", ["collage", "fleet", "gateways", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    rows = list(csv.DictReader((out / "short.csv").read_text().splitlines()))
    assert [(row["axis.gateways.count"], row["policy"]) for row in rows] == [
        (count, label) for count in ("1", "2") for label in ("collage, own", "collage, lend")
    ]
    assert (out / "short.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "short.json").read_text())["command"] == "collage fleet gateways --config short.toml"
    found = json.loads(together.read_text())
    assert found["ray"] == {"nodes": 3}
    assert [(row["count"], row["policy"], row["pool"]) for row in found["gateways"]] == [
        (count, "collage", pool) for count in (1, 2) for pool in ("own", "lend")
    ]
    assert all(row["queries"] == 400 and row["p99_ms"] >= row["p50_ms"] > 0 for row in found["gateways"])
