"""What an extra brings is only missed by the commands that need it, and they say which."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from collage.cli import main; main()"


def run(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT, missing, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("missing", "extra", "command"),
    [
        ("torch", "train", ["train", "single", "--config", "experiments/fashion-mnist-single.toml"]),
        ("torch", "train", ["evaluate", "fashion-mnist-single"]),
        ("ray", "ray", ["serve", "--engine", "ray"]),
        ("matplotlib", "bench", ["bench", "--config", "experiments/tail-live-quick.toml", "--report"]),
    ],
)
def test_a_missing_extra_is_named_in_one_line(missing: str, extra: str, command: list[str]) -> None:
    result = run(missing, *command)
    assert result.returncode == 2
    assert result.stderr == f"collage: {missing} is not installed: pip install 'collage-inference[{extra}]'\n"


@pytest.mark.parametrize("missing", ["torch", "matplotlib", "ray"])
def test_serving_needs_no_extra(missing: str) -> None:
    for command in ("models", "--help"):
        result = run(missing, command)
        assert result.returncode == 0, result.stderr
