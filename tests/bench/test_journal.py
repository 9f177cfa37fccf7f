"""The journal: what a stopped run has finished is there when it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.bench import Journal, Turn, TurnResult
from collage.exceptions import SettingsError


def result(block: int = 0, policy: str = "none", **changes: object) -> TurnResult:
    values = {
        "turn": Turn("iid", 0.3, block, policy),
        "latencies": [0.1, 0.2],
        "sources": {"single": 2},
        "right": 2,
        "single_right": 2,
        "failed": 0,
        "single_seconds": 0.3,
        "extra_seconds": 0.0,
        "backups_sent": 0,
        "jobs": 2,
        "overruns": 0,
        "lateness_p99": 0.0001,
        "lateness_max": 0.0002,
        "cpu_share": 0.2,
        "seconds": 1.0,
    }
    return TurnResult.model_validate(values | changes)


def opened(path: Path, fingerprint: str = "a") -> Journal:
    journal = Journal(path, fingerprint)
    journal.open()
    return journal


def test_finished_turns_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x.jsonl"
    journal = opened(path)
    kept = [result(0), result(0, "collage", cpu_share=None), result(1, latencies=[0.123456])]
    for each in kept:
        journal.add(each)

    assert list(opened(path).done.values()) == kept
    assert set(opened(path).done) == {each.turn for each in kept}


@given(cut=st.integers(1, 200))
def test_what_a_kill_left_of_the_last_turn_is_forgotten(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("runs") / "x.jsonl"
    journal = opened(path)
    journal.add(result(0))
    journal.add(result(1))
    path.write_bytes(path.read_bytes()[:-cut])

    again = opened(path)
    assert list(again.done.values()) == [result(0)]
    again.add(result(1))
    assert list(opened(path).done.values()) == [result(0), result(1)]


def test_a_run_killed_in_its_first_line_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"experi')

    opened(path).add(result())
    assert list(opened(path).done.values()) == [result()]


def test_turns_of_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    opened(path, "a")
    opened(path, "b").add(result())  # there was nothing in it yet

    with pytest.raises(SettingsError, match="other settings"):
        opened(path, "a")
    assert list(opened(path, "b").done.values()) == [result()]


@pytest.mark.parametrize("content", ["[]\n", "nonsense\n", '{"experiment": "a"}\n{"turn": 1}\n'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"x\.jsonl"):
        opened(path)
