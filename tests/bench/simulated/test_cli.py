"""`collage simulate --config` and `collage report` as a user runs them: processes, a terminal, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ...waiting import ended, lines, wait_until

COMMAND = [sys.executable, "-c", "from collage.cli import main; main()"]


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=folder)


def test_from_a_file_to_a_report(config: Path) -> None:
    folder = config.parent
    done = run("simulate", "--config", "small.toml", "--quick", "--out", "results/small", folder=folder)
    assert done.returncode == 0, done.stderr
    for word in ("A small experiment", "collage 2x2", "p99", "extra", "A_o - A_a"):
        assert word in done.stdout
    for name in ("table.csv", "figure.png", "figure.svg", "experiment.json"):
        assert (folder / "results" / "small" / name).stat().st_size
    written = json.loads((folder / "results" / "small" / "experiment.json").read_text())
    assert written["command"] == "collage simulate --config small.toml --quick"
    assert written["size"] == {"queries": 200, "seeds": 1}

    journal = (folder / "runs" / "small.points.jsonl").read_text()
    again = run("simulate", "--config", "small.toml", "--quick", "--out", "results/small", folder=folder)
    assert again.returncode == 0
    assert (folder / "runs" / "small.points.jsonl").read_text() == journal  # nothing was left to run

    reported = run("report", folder=folder)
    assert reported.returncode == 0, reported.stderr
    for name in ("report/index.html", "report/report.md", "tail.json"):
        assert (folder / "results" / name).stat().st_size


def test_a_folder_of_experiments_and_where_quick_ones_go(config: Path) -> None:
    folder = config.parent
    other = config.read_text().replace('name = "small"', 'name = "other"')
    (folder / "other.toml").write_text(other)
    done = run("simulate", "--config", ".", "--quick", folder=folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "runs" / "quick").iterdir()) == ["other", "small"]
    assert not (folder / "results").exists()  # a first look is not kept with what is


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(config: Path) -> None:
    folder, journal = config.parent, config.parent / "runs" / "small.points.jsonl"
    config.write_text(config.read_text().replace("queries = 400", "queries = 3000").replace("seeds = 2", "seeds = 100"))
    process = subprocess.Popen(
        [*COMMAND, "simulate", "--config", "small.toml", "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: process.poll() is not None or lines(journal) >= 2, "2 lines of its journal are written")
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    assert len(children) >= 2
    blocked = re.compile(r"SigBlk:\s*(\w+)")
    masks = [int(blocked.findall(Path(f"/proc/{pid}/status").read_text())[0], 16) for pid in children]
    assert sum(bool(mask >> signal.SIGINT - 1 & 1) for mask in masks) >= 2  # and so from before their first line
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the whole group
    said, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "goes on from there" in said
    assert "Traceback" not in errors
    for child in children:
        wait_until(lambda: ended(child), f"its process {child} has ended")  # noqa: B023
    kept = journal.read_text()
    assert 2 <= len(kept.splitlines()) < 800

    config.write_text(config.read_text().replace("seeds = 100", "seeds = 1"))
    assert run("simulate", "--config", "small.toml", folder=folder).returncode == 0
    assert journal.read_text().startswith(kept)  # and goes on from there
    keys = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys))  # no point twice


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "--config", "gone.toml"], "gone.toml: no such file"),
        (["simulate", "--config", "small.toml", "--quick", "--full"], "one of them"),
        (["simulate", "--config", "empty"], "holds no experiment"),
        (["report"], "holds no results yet"),
    ],
)
def test_what_cannot_be_done_is_one_line(config: Path, arguments: list[str], said: str) -> None:
    (config.parent / "empty").mkdir()
    refused = run(*arguments, folder=config.parent)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
