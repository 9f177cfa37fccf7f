"""A real gateway under fire: each fault for a moment. `collage chaos` does the same for longer.

COLLAGE_CHAOS=experiments/chaos.toml python -m pytest -m chaos tests/bench     each fault as long as the file says
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from collage.bench.chaos import (
    FAULTS,
    ChaosJournal,
    ChaosSettings,
    FaultResult,
    OverloadSettings,
    SoakSettings,
    Stage,
    load_chaos,
    open_stage,
    recovered_after,
    run_chaos,
    run_fault,
    run_overload,
    run_soak,
    trend,
    write_chaos,
)
from collage.bench.chaos._identity import NUMBERS, label_of, make_models, number_of, pixels
from collage.codes import make_code
from collage.exceptions import SettingsError
from collage.zoo import load_model, open_session

from ..waiting import wait_until

SHORT = ChaosSettings(
    workers=3,
    remotes=2,
    load=0.2,
    before_seconds=0.1,
    fault_seconds=0.25,
    after_seconds=0.15,
    warm_seconds=0.0,
    window_seconds=0.1,
    deadline=60.0,
)
FULL = os.environ.get("COLLAGE_CHAOS")
SETTINGS = load_chaos(Path(FULL)) if FULL else SHORT


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One gateway lives through all faults of its layout."""
    stack = AsyncExitStack()
    folder = tmp_path_factory.mktemp("chaos")
    yield loop.run(stack.enter_async_context(open_stage(SETTINGS, request.param, folder)))
    loop.run(stack.aclose())


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("stage", "name"),
    sorted((fault.layout, name) for name, fault in FAULTS.items()),
    indirect=["stage"],
    scope="module",
)
def test_a_fault_loses_doubles_and_swaps_nothing(stage: Stage, loop: asyncio.Runner, name: str) -> None:
    result = loop.run(run_fault(SETTINGS, FAULTS[name], stage))
    assert (result.lost, result.double, result.swapped) == (0, 0, 0), result
    assert result.requests - result.refused - result.late > 0


@pytest.mark.chaos
def test_overload_is_refused_and_the_rest_answered(loop: asyncio.Runner, tmp_path: Path) -> None:
    overload = SETTINGS.overload if FULL else OverloadSettings(seconds=0.6, capacity_seconds=0.4, queue=6, deadline=60)
    assert overload is not None
    steps: list[float] = []
    result = loop.run(run_overload(SETTINGS, overload, tmp_path, steps.append))
    assert (result.lost, result.double, result.swapped) == (0, 0, 0), result
    assert result.goodput > 0
    assert result.refused_share > 0
    assert result.memory_most > 0
    assert steps[-1] == overload.seconds + 2 * overload.capacity_seconds


@pytest.mark.chaos
def test_a_soak_watches_what_the_gateway_holds(loop: asyncio.Runner, tmp_path: Path) -> None:
    soak = SETTINGS.soak if FULL else SoakSettings(seconds=0.6, sample_seconds=0.1, load=0.3)
    assert soak is not None
    result = loop.run(run_soak(SETTINGS, soak, tmp_path, lambda seconds: None))
    assert (result.lost, result.double, result.swapped) == (0, 0, 0), result
    assert result.memory.first > 0
    assert result.descriptors.first > 3
    assert result.tasks.first > 1
    assert len((tmp_path / "soak.csv").read_text().splitlines()) > 2


def test_models_read_every_number_on_every_tile(tmp_path: Path) -> None:
    models = make_models(tmp_path)
    single, collage = load_model(models.single), load_model(models.collage)
    rng = np.random.default_rng(0)
    numbers = rng.permutation(NUMBERS)
    images = (np.stack([pixels(number) for number in numbers])[:, None] / 255).astype(np.float32)  # (n, 1, H, W)
    (logits,) = open_session(single.path).run(None, {"images": images})
    assert (logits.argmax(1) == numbers).all()
    code, session = make_code(collage.card), open_session(collage.path)
    for first in range(0, NUMBERS, 9):
        part = list(images[first : first + 9])
        (output,) = session.run(None, {"images": code.encode(part)})
        answers = code.decode(output, range(len(part)), {})
        assert [answers[place].scores.argmax() for place in range(len(part))] == list(numbers[first : first + 9])
    assert single.card.classes[5] == label_of(5)


def test_queries_in_flight_together_carry_different_numbers() -> None:
    assert len({number_of(query) for query in range(5000, 5000 + NUMBERS)}) == NUMBERS


def test_recovered_is_the_first_whole_window_that_is_normal() -> None:
    arrivals = np.arange(0, 10, 0.01)
    latencies = np.where((arrivals >= 2) & (arrivals < 5), 1.0, 0.1)
    assert recovered_after(arrivals, latencies, 4.0, window=1.0, most=0.2) == pytest.approx(1.0, abs=0.11)
    assert recovered_after(arrivals, latencies, 5.0, window=1.0, most=0.2) == 0.0
    assert recovered_after(arrivals, np.full(1000, 1.0), 5.0, window=1.0, most=0.2) is None
    missing = np.where(arrivals >= 9, 0.1, np.nan)  # without an answer is not normal
    assert recovered_after(arrivals, missing, 5.0, window=0.5, most=0.2) == pytest.approx(4.0, abs=0.11)


def test_a_trend_is_the_line_through_what_comes_after_settling() -> None:
    samples = [
        {"seconds": float(second), "memory": 1e6 if second < 100 else 5e6 + 10.0 * second} for second in range(300)
    ]
    found = trend(samples, "memory", 100)
    assert found.slope_per_hour == pytest.approx(36_000)
    assert found.slope_error == pytest.approx(0, abs=1)
    assert trend(samples[:2], "memory", 100).slope_per_hour == 0


def test_a_finished_part_is_not_run_again(loop: asyncio.Runner, tmp_path: Path) -> None:
    settings = SHORT.model_copy(update={"faults": ("kill-half",), "overload": None, "soak": None, "fuzz": None})
    journal = ChaosJournal(tmp_path / "chaos.jsonl", settings)
    journal.open()
    journal.add(_result("kill-half"))
    again = ChaosJournal(tmp_path / "chaos.jsonl", settings)
    again.open()
    loop.run(run_chaos(settings, again, tmp_path / "none", lambda step: None))
    assert again.faults == {"kill-half": _result("kill-half")}
    assert not (tmp_path / "none").exists()


def test_a_journal_of_other_settings_is_refused(tmp_path: Path) -> None:
    ChaosJournal(tmp_path / "chaos.jsonl", SHORT).open()
    other = ChaosJournal(tmp_path / "chaos.jsonl", SHORT.model_copy(update={"workers": 7}))
    with pytest.raises(SettingsError, match="other settings"):
        other.open()


def test_results_keep_what_another_command_wrote(tmp_path: Path) -> None:
    (tmp_path / "chaos.json").write_text('{"fuzz": {"inputs": 7}}')
    journal = ChaosJournal(tmp_path / "runs.jsonl", SHORT)
    journal.open()
    journal.add(_result("kill-worker"))
    paths = write_chaos(SHORT, journal, tmp_path, command="x")
    assert all(path.is_file() for path in paths)
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["fuzz"] == {"inputs": 7}
    assert found["faults"] == [
        {
            "fault": "kill-worker",
            "requests": 10,
            "lost": 0,
            "double": 0,
            "swapped": 0,
            "degraded": 1,
            "p99_before": 0.1,
            "p99_during": 0.2,
            "recovered_after_s": 0.5,
        }
    ]


def test_ctrl_c_stops_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config = tmp_path / "chaos.toml"
    config.write_text(
        'faults = ["stop-worker", "clock-jumps"]\nworkers = 2\nremotes = 1\nload = 0.2\nwarm_seconds = 0\n'
        "before_seconds = 0.2\nfault_seconds = 0.2\nafter_seconds = 0.2\n"
    )
    command = [
        *(sys.executable, "-c", "from collage.cli import main; main()", "chaos", "--config", str(config)),
        *("--only", "faults", "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")),
    ]
    journal = tmp_path / "runs" / "chaos.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(
            lambda: process.poll() is not None or (journal.is_file() and "stop-worker" in journal.read_text()),
            "the first fault is in its journal",
        )
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate()
    assert (process.returncode, errors) == (130, ""), errors
    assert "the same command goes on" in said
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "chaos.json").read_text())
    assert [row["fault"] for row in found["faults"]] == ["stop-worker", "clock-jumps"]


def test_a_fault_that_is_none_is_named(tmp_path: Path) -> None:
    settings = SHORT.model_copy(update={"faults": ("earthquake",)})
    with pytest.raises(SettingsError, match="'earthquake' is none"):
        asyncio.run(run_chaos(settings, ChaosJournal(tmp_path / "j", settings), tmp_path, lambda step: None))


def _result(fault: str) -> FaultResult:
    return FaultResult(
        fault=fault,
        requests=10,
        lost=0,
        double=0,
        swapped=0,
        degraded=1,
        p99_before=0.1,
        p99_during=0.2,
        recovered_after_s=0.5,
        refused=0,
        late=0,
        resent=0,
        p50_before=0.05,
        fault_seconds=1.0,
        troubles={},
    )
