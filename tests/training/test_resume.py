"""A training that is killed goes on as if it never had been: the same command, the same weights to the last bit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

pytestmark = pytest.mark.train

EPOCHS = 25  # some seconds: the kill comes long before the end


def start(role: str, config: Path, out: Path, single: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from collage.cli import main; main()", "train", role]
    command += ["--config", str(config), "--out", str(out), "--threads", "1"]
    if single is not None:
        command += ["--single", str(single)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("role", ["single", "collage", "parity", "learned"])
def test_a_killed_training_ends_as_an_unbroken_one(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, role: str
) -> None:
    model: dict[str, Any] = {"parity": {"k": 2, "encoder": "sum"}, "learned": {"k": 2}}.get(role, {})
    net = make_settings(role, model=model).model.net.model_dump(mode="json")
    model |= {"net": net | ({"dropout": 0.1} if "dropout" in net else {})}
    settings = make_settings(role, model=model, train={"epochs": EPOCHS, "evaluate_every": 10})
    config = tmp_path / "training.toml"
    config.write_text(_toml(settings.model_dump(mode="json", exclude_none=True)))
    single = None if role == "single" else tiny.single.path

    unbroken = start(role, config, tmp_path / "unbroken", single)
    broken = start(role, config, tmp_path / "broken", single)
    assert broken.stdout is not None
    for line in broken.stdout:
        if line.startswith("epoch    3/"):
            broken.send_signal(signal.SIGKILL)
            break
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    stopped_at = int(torch.load(tmp_path / "broken/checkpoint.pt", weights_only=True)["epoch"])
    assert 3 <= stopped_at < EPOCHS

    resumed = start(role, config, tmp_path / "broken", single)
    for process in (unbroken, resumed):
        said, errors = process.communicate()
        assert process.returncode == 0, errors
    assert f"epoch {stopped_at + 1:4d}/" in said
    assert f"epoch {stopped_at:4d}/" not in said  # nothing is done twice
    assert "asking the single" not in said
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("unbroken", "broken"))
    assert one["epoch"] == other["epoch"] == EPOCHS
    assert one["best"] == other["best"]
    for part in ("net", "average"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(one[part][key], other[part][key]) for key in one[part])
    rows = [_last_row(tmp_path / name / "log.csv") for name in ("unbroken", "broken")]
    assert rows[0] == rows[1]


def _last_row(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        *_, row = csv.DictReader(file)
    return {name: value for name, value in row.items() if name != "seconds"}


def _toml(sections: dict[str, dict[str, Any]]) -> str:
    """Settings as TOML; what JSON and TOML write differently are tables in tables, and there is one."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            text = json.dumps(value)
            if isinstance(value, dict):
                text = "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
            lines.append(f"{key} = {text}")
    return "\n".join(lines)
