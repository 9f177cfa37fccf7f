"""Inputs that nobody should send: what once did harm, and a small part of what `collage chaos --only fuzz` sends."""

from __future__ import annotations

import asyncio
import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from collage.bench.chaos import ChaosJournal, ChaosSettings, FuzzSettings, fuzz_result, run_chaos, write_chaos
from collage.bench.chaos.fuzz import TARGETS, Target, fuzz_plan, make_input, run_fuzz
from collage.bench.chaos.fuzz import _inside as inside
from collage.bench.chaos.fuzz._mutate import mutated_tree, toml
from collage.exceptions import SettingsError

FOUND = Path(__file__).with_name("found")
INPUTS = 40
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's


def _there(target: Target) -> bool:
    return target.needs is None or find_spec(target.needs) is not None


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_once_did_harm_is_refused(path: Path) -> None:
    """Named TARGET-ERROR-...: what the target raised before it was mended."""
    target = next(target for name, target in TARGETS.items() if path.name.startswith(f"{name}-"))
    if not _there(target):
        pytest.skip(f"needs {target.needs}")
    assert not target.run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_no_error_escapes(name: str) -> None:
    target = TARGETS[name]
    if not _there(target):
        pytest.skip(f"needs {target.needs}")
    assert len({make_input(target, 0, index) for index in range(INPUTS)}) > INPUTS / 2
    for index in range(INPUTS):
        target.run(make_input(target, 0, index))


def test_an_input_comes_back_by_its_number() -> None:
    for target in TARGETS.values():
        assert make_input(target, 3, 17) == make_input(target, 3, 17)


def test_trees_that_are_changed_leave_the_first_as_it_was_and_can_be_written() -> None:
    tree = {"a": [1, {"b": None}], "c": {"d": "e"}}
    for seed in range(500):
        toml(mutated_tree(random.Random(seed), tree))
    assert tree == {"a": [1, {"b": None}], "c": {"d": "e"}}


def test_a_process_that_dies_or_hangs_is_seen_and_its_input_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import os, sys\n"
        "name, seed, first, count, folder = sys.argv[-5:]\n"
        "for index in range(int(first), int(first) + int(count)):\n"
        "    print(index, flush=True)\n"
        "    if index == 3: os.abort()\n"
        "    if index == 6: pipe = os.pipe(); os.read(pipe[0], 1)\n"
        'print(\'{"accepted": 1, "escaped": 0, "memory": [5, 7]}\')\n'
    )
    monkeypatch.setattr(inside, "_CHILD", (str(child),))
    tally = asyncio.run(inside.run_inside("worker-frames", 1, 0, 10, hang_seconds=1.0, folder=tmp_path / "kept"))
    assert (tally.crashes, tally.hangs, tally.accepted, tally.inputs) == (1, 1, 1, 10)
    assert (tmp_path / "kept" / "worker-frames-1-3").read_bytes() == make_input(TARGETS["worker-frames"], 1, 3)
    assert "no end within" in (tmp_path / "kept" / "worker-frames-1-6.txt").read_text()


@pytest.mark.chaos
def test_a_gateway_takes_all_kinds_of_inputs_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    live = {"http-described": 40, "http": 50, "grpc": 50}
    fuzz = FuzzSettings(seed=5, inputs_inside=10, inputs_live=live, targets=("worker-frames", *live))
    settings = ChaosSettings(workers=2, remotes=1, fuzz=fuzz)
    (tmp_path / "chaos.json").write_text('{"soak": {"requests": 7}}')
    journal = ChaosJournal(tmp_path / "chaos.jsonl", settings)
    journal.open()
    asyncio.run(run_chaos(settings, journal, tmp_path / "run", lambda step: None, ["fuzz"]))
    result = fuzz_result(settings, journal)
    assert result is not None
    assert result.clean, [path.read_text() for path in (tmp_path / "run" / "fuzz" / "found").glob("*.txt")]
    assert result.neighbours >= len(live)
    assert all(result.targets[name].accepted for name in ("http", "grpc"))
    assert result.inputs == 10 + sum(live[name] for name in live if name in result.targets)
    write_chaos(settings, journal, tmp_path, command="x")
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert (found["soak"], found["fuzz"]["server_errors"], "faults" in found) == ({"requests": 7}, 0, False)
    again = ChaosJournal(tmp_path / "chaos.jsonl", settings)
    again.open()
    asyncio.run(run_chaos(settings, again, tmp_path / "none", lambda step: None, ["fuzz"]))
    assert not (tmp_path / "none").exists()


def test_parts_cover_every_input_once() -> None:
    chunks = fuzz_plan(FuzzSettings(inputs_inside=25, inputs_live={}, chunk=10, targets=("image",)))
    assert [(chunk.first, chunk.inputs) for chunk in chunks] == [(0, 10), (10, 10), (20, 5)]


def test_a_target_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'moon' is none"):
        fuzz_plan(FuzzSettings(targets=("moon",)))
    asyncio.run(run_fuzz(ChaosSettings(), FuzzSettings(), [], tmp_path / "none", lambda chunk: None))
    assert not (tmp_path / "none").exists()
