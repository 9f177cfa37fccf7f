"""`collage profile list` and `collage fit-trace` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from collage.cli import main
from collage.simulation import list_profiles, load_profile

SHIPPED = load_profile("resnet34-cpu")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> object:
    """run(*arguments) -> exit status, stdout, stderr; in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["collage", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return go


def test_shipped_profiles_are_listed(run: object) -> None:
    status, out, _ = run("profile", "list")  # type: ignore[operator]
    assert status == 0
    assert all(name in out for name in list_profiles())


def test_a_trace_becomes_a_profile_and_a_picture(run: object, tmp_path: Path) -> None:
    drawn = SHIPPED.draw(np.random.default_rng(0), 5000)
    (tmp_path / "times.csv").write_text("job,ms\n" + "\n".join(f"{i},{1000 * t}" for i, t in enumerate(drawn)))
    status, out, error = run("fit-trace", "times.csv", "--unit", "ms", "--source", "a test")  # type: ignore[operator]
    assert status == 0, error
    assert "times-profile.json, times-profile.png" in out
    own = load_profile("times-profile.json")
    assert (own.name, own.source, own.jobs) == ("times", "a test", 5000)
    assert own.mean == pytest.approx(SHIPPED.mean, rel=0.03)
    assert (tmp_path / "times-profile.png").read_bytes().startswith(b"\x89PNG")
    # It is what the simulator draws from.
    status, out, error = run(  # type: ignore[operator]
        "simulate", "--profile", "times-profile.json", "--policies", "none", "--loads", "0.5", "--requests", "200"
    )
    assert status == 0, error


def test_a_trace_without_stragglers(run: object, tmp_path: Path) -> None:
    np.save(tmp_path / "even.npy", np.linspace(0.1, 0.2, 200))
    status, out, _ = run("fit-trace", "even.npy", "--out", "own.json", "--name", "even")  # type: ignore[operator]
    assert status == 0
    assert "slow jobs: none" in out
    assert json.loads((tmp_path / "own.json").read_text())["slow_share"] == 0


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("no times\nat all\n", [], "times.csv"),
        ("0.1\n0.2\n", [], "at least 100"),
        (None, [], "times.csv"),
        ("0.1\n" * 100, ["--out", "absent/own.json"], "absent/own.json"),
    ],
)
def test_what_cannot_be_fitted_is_named_in_one_line(
    run: object, content: str | None, arguments: list[str], message: str
) -> None:
    if content is not None:
        Path("times.csv").write_text(content)
    status, _, error = run("fit-trace", "times.csv", *arguments)  # type: ignore[operator]
    assert status == 2
    assert message in error
    assert len(error.splitlines()) == 1
