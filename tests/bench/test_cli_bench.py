"""`collage bench` as a user runs it: a process, a terminal, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from collage.bench import BenchSettings

from ..waiting import ended, lines, wait_until

MakeBench = Callable[..., BenchSettings]

COMMAND = [sys.executable, "-c", "from collage.cli import main; main()"]


def toml(settings: BenchSettings) -> str:
    """The experiment's file. JSON values are TOML's, but for tables."""
    tables, values = [], []
    for key, value in settings.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(value, dict):
            inner = ", ".join(f"{name} = {_inline(each)}" for name, each in value.items())
            tables.append(f"{key} = {{ {inner} }}")
        else:
            values.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*values, *tables]) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(each)}" for name, each in value.items()) + " }"
    return json.dumps(value)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def bench(config: Path, *more: object) -> list[object]:
    return ["bench", "--config", config, "--out", config.parent / "out", "--runs", config.parent / "runs", *more]


@pytest.fixture
def config(make_bench: MakeBench, tmp_path: Path) -> Path:
    """The file of an experiment of two turns."""
    settings = make_bench(blocks=1, requests=60, warmup=0)
    path = tmp_path / "small.toml"
    path.write_text(toml(settings))
    return path


def test_a_bench_from_its_file_to_its_table(config: Path) -> None:
    done = run(*bench(config))

    assert done.returncode == 0, done.stderr
    for word in ("none", "collage", "p99.9", "extra work", "A_o", "Service times x 0.1", "of the machine's cores"):
        assert word in done.stdout
    out = config.parent / "out"
    rows = json.loads((out / "small.json").read_text())
    assert [row["policy"] for row in rows] == ["none", "collage"]
    for name in ("table.csv", "table.md", "latency.png", "conditions.json"):
        assert (out / "small" / name).stat().st_size
    conditions = json.loads((out / "small" / "conditions.json").read_text())
    assert conditions["experiment"]["times"]["scale"] == 0.1
    assert conditions["measured"]["turns"] == 2
    assert str(config.parent) not in conditions["command"]

    again = run(*bench(config))  # nothing is left to run
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "small.json").read_text()) == rows


def test_ctrl_c_keeps_finished_turns_and_the_same_command_goes_on(make_bench: MakeBench, tmp_path: Path) -> None:
    settings = make_bench(policies=["none"], blocks=20, requests=40, warmup=0)
    config = tmp_path / "small.toml"
    config.write_text(toml(settings))
    journal = tmp_path / "runs" / "small.jsonl"

    process = subprocess.Popen(
        [*COMMAND, *map(str, bench(config))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: process.poll() is not None or lines(journal) >= 3, "3 lines of its journal are written")
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "goes on from there" in said
    assert "Traceback" not in errors
    kept = journal.read_text()
    assert 3 <= len(kept.splitlines()) < 21

    report = run(*bench(config, "--report"))
    assert report.returncode == 0, report.stderr
    assert json.loads((tmp_path / "out" / "small.json").read_text())[0]["blocks"] == len(kept.splitlines()) - 1

    assert run(*bench(config)).returncode == 0
    finished = journal.read_text()
    assert finished.startswith(kept)
    assert len(finished.splitlines()) == 21


def test_turns_of_another_experiment_are_not_mixed_in(config: Path) -> None:
    assert run(*bench(config)).returncode == 0
    config.write_text(config.read_text().replace("warmup = 0", "warmup = 1"))

    refused = run(*bench(config))
    assert refused.returncode == 2
    assert "other settings" in refused.stderr
    assert run(*bench(config, "--fresh")).returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "name"),
        ('name = "x"\npolicies = ["nope"]\nloads = [0.5]\n', "nope: no such preset"),
        ('name = "x"\npolicies = ["none"]\nloads = [0.5]\nmodels = { single = "nope" }\n', "nope"),
    ],
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    config = tmp_path / "x.toml"
    config.write_text(content)

    refused = run(*bench(config))
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_no_worker_outlives_a_killed_bench(make_bench: MakeBench, tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(toml(make_bench(policies=["none"], blocks=40, requests=20, warmup=0)))
    journal = tmp_path / "runs" / "small.jsonl"
    process = subprocess.Popen(
        [*COMMAND, *map(str, bench(config))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: process.poll() is not None or lines(journal) >= 2, "2 lines of its journal are written")
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    workers = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    assert len(workers) == 3
    process.kill()
    process.wait()
    for pid in workers:
        wait_until(lambda: ended(pid), f"its process {pid} has ended")  # noqa: B023
