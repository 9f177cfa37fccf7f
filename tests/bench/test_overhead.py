"""What a call costs with a fixed overhead: exact arithmetic on times by hand, and the command on shipped models."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collage.bench import CallTime, OverheadResult, break_even, load_overhead, measure_overhead, overhead_table
from collage.cli import _overhead
from collage.exceptions import ModelError, SettingsError
from collage.zoo import LoadedModel, load_model

SETTINGS = """
name = "calls"
single = "fashion-mnist-single"
backups = ["fashion-mnist-collage-3x3", "fashion-mnist-collage-3x3-cheap", "BATCH"]
rounds = 10
most = 0.01
"""


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped cheap single as a batch of four: the card of the same file."""
    folder = tmp_path_factory.mktemp("batch")
    cheap = load_model("fashion-mnist-collage-3x3-cheap")
    card = json.loads(cheap.path.with_suffix(".json").read_text()) | {"name": "four", "role": "batch", "k": 4}
    (folder / cheap.card.file).write_bytes(cheap.path.read_bytes())
    (folder / "four.json").write_text(json.dumps(card))
    return folder / "four.json"


def call(name: str, fill: int, seconds: float) -> CallTime:
    return CallTime(load_model(f"fashion-mnist-{name}"), fill, seconds, seconds, seconds)


def test_costs_meet_where_they_should() -> None:
    collage, cheap, single = (
        call("collage-3x3", 9, 0.010),
        call("collage-3x3-cheap", 1, 0.001),
        call("single", 1, 0.011),
    )
    meets = break_even(collage, cheap)
    assert meets == pytest.approx((0.010 - 9 * 0.001) / 8)
    assert meets is not None
    assert collage.cost(meets, 9) / 9 == pytest.approx(cheap.cost(meets, 1))
    assert break_even(collage, single) == 0  # always
    assert break_even(cheap, collage) is None  # at a large overhead, never
    assert break_even(replace(cheap, median=0.002), cheap) is None
    assert break_even(cheap, single) == 0
    assert cheap.cost(0.005, 4) == pytest.approx(4 * 0.006)
    assert collage.cost(0.005, 4) == pytest.approx(0.015)
    assert collage.cost(0.005, 10) == pytest.approx(0.030)


def test_the_table_says_how_many_must_be_wanted() -> None:
    result = OverheadResult(
        [call("single", 1, 0.011), call("collage-3x3", 9, 0.010), call("collage-3x3-cheap", 1, 0.001)], 0.0002
    )
    table = overhead_table(result)
    rows = [line for line in table.splitlines() if line.startswith("| fashion-mnist")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        "fashion-mnist-single", "fashion-mnist-collage-3x3", "fashion-mnist-collage-3x3-cheap",
    ]  # fmt: skip
    assert "| 1.111 | 1.222 | 1.667 | 3.333 |" in rows[1]
    assert "full, costs less than separate calls of fashion-mnist-single at any overhead" in table
    assert "separate calls of fashion-mnist-collage-3x3-cheap from an overhead of 0.12 ms a call on" in table
    # 10.2 against m times 1.2 ms; 15 against 6 m; 30 against 21 m.
    assert "at least 9, 3 and 2 of its 9 queries are wanted" in table
    assert [line.split(" | ")[0] for line in table.splitlines()[-3:]] == ["| replica", "| collage", "| cheap"]


def test_the_command_measures_every_call(batch: Path, tmp_path: Path) -> None:
    config = tmp_path / "calls.toml"
    config.write_text(SETTINGS.replace("BATCH", str(batch)))
    app = typer.Typer()
    app.callback()(lambda: None)
    _overhead.register(app)
    result = CliRunner().invoke(
        app, ["overhead", "-c", str(config), "--out", str(tmp_path)], catch_exceptions=False
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with (tmp_path / "calls/times.csv").open(newline="") as file:
        times = list(csv.DictReader(file))
    assert [(row["code"], int(row["fill"])) for row in times] == [
        ("single", 1), ("collage-isolated", 9), ("cheap", 1), ("batch", 1), ("batch", 2), ("batch", 3), ("batch", 4),
    ]  # fmt: skip
    assert all(0 < float(row["low_ms"]) <= float(row["median_ms"]) <= float(row["high_ms"]) for row in times)
    with (tmp_path / "calls/cost.csv").open(newline="") as file:
        costs = list(csv.DictReader(file))
    assert {row["model"] for row in costs} == {row["model"] for row in times}
    by_model = [row for row in costs if row["code"] == "collage-isolated"]
    assert (float(by_model[0]["overhead_ms"]), float(by_model[-1]["overhead_ms"])) == (0.0, 10.0)
    gained = float(by_model[-1]["ms_per_query"]) - float(by_model[0]["ms_per_query"])
    assert gained == pytest.approx(10 / 9, abs=1e-3)
    conditions = json.loads((tmp_path / "calls/conditions.json").read_text())
    assert conditions["local_engine_ms"] > 0
    assert (tmp_path / "calls/cost.png").read_bytes().startswith(b"\x89PNG")
    assert "| collage |" in (tmp_path / "calls/table.md").read_text()


def test_mistakes_are_named(tmp_path: Path) -> None:
    config = tmp_path / "calls.toml"
    with pytest.raises(SettingsError, match="no such file"):
        load_overhead(config)
    config.write_text(SETTINGS.replace("rounds = 10", "rounds = 1"))
    with pytest.raises(SettingsError, match="rounds"):
        load_overhead(config)
    config.write_text(
        SETTINGS.replace(', "BATCH"', "").replace('"fashion-mnist-collage-3x3"', '"fashion-mnist-single"')
    )
    with pytest.raises(ModelError, match="made for another single"):
        measure_overhead(load_overhead(config))


def test_a_batch_is_costed_by_its_fill(batch: Path) -> None:
    model: LoadedModel = load_model(batch)
    calls = [CallTime(model, fill, 0.001 * fill, 0.001 * fill, 0.001 * fill) for fill in range(1, 5)]
    result = OverheadResult([call("single", 1, 0.01), *calls], 0.0)
    assert [result.of(model, wanted).fill for wanted in (1, 3, 4, 9)] == [1, 3, 4, 4]
    assert [one.fill for one in result.full()] == [1, 4]
