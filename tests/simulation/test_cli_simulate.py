"""`collage simulate` as a user runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from collage.cli import main


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    arguments = ["collage", "simulate", "--policies", "none,collage", "--loads", "0.5", "--requests", "500"]
    arguments += ["--set", "collage.overtake=false", "--set", "collage.budget=0.3"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(out)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "collage" in capsys.readouterr().out
    with out.open() as file:
        assert [row["policy"] for row in csv.DictReader(file)] == ["none", "collage"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--policies", "nome", "no preset"),
        ("--loads", "high", "--loads: 'high'"),
        ("--loads", "3", "--loads: '3'"),
        ("--cheap-cost", "1", "needs 2 numbers"),
        ("--set", "budget=1", "is not POLICY.KEY=VALUE"),
        ("--set", "hedge.budget=much", "policy hedge: budget"),
    ],
)
def test_the_command_names_what_is_wrong(
    option: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["collage", "simulate", option, value])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
