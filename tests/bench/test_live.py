"""The bench, end to end: real worker processes, real images, a real dispatcher behind a real data plane."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from collage.bench import BenchSettings, Journal, Step, report_bench, run_bench, turns
from collage.bench._live import open_stage
from collage.bench._turn import take_turn
from collage.exceptions import SettingsError

MakeBench = Callable[..., BenchSettings]

FASTEST = 0.0835  # of the profile, seconds: no single can be quicker than this times the scale


def journal_of(settings: BenchSettings, folder: Path) -> Journal:
    journal = Journal(folder / f"{settings.name}.jsonl", settings.fingerprint)
    journal.open()
    return journal


def test_policies_side_by_side(make_bench: MakeBench, tmp_path: Path) -> None:
    settings = make_bench(policies=["none", "cheap", "collage", "collage-dedicated"], stragglers=["iid"])
    journal = journal_of(settings, tmp_path)
    steps: list[Step] = []
    asyncio.run(run_bench(settings, journal, steps.append))

    assert set(journal.done) == set(turns(settings))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= settings.seconds + 1e-9
    rows, _ = report_bench(settings, journal, tmp_path, command="test")
    by_policy = {row.policy: row for row in rows}
    for row in rows:
        assert (row.requests, row.failed) == (300, 0)
        assert row.a_a == pytest.approx(0.9, abs=0.06)  # one class of ten is labelled wrongly
        assert row.a_o == row.a_a  # all models read the same greys
        assert FASTEST * settings.times.scale < row.p50 < row.p99 <= row.p999
    none, collage = by_policy["none"], by_policy["collage"]
    assert (none.extra_work, none.degraded_share, none.backups_per_query) == (0, 0, 0)
    assert collage.extra_work > 0
    assert collage.backups_per_query > 0
    assert len({row.a_a for row in rows}) == 1  # the same images for all


def test_a_client_that_hedges_by_itself_stands_beside_them(make_bench: MakeBench, tmp_path: Path) -> None:
    changes = {"hedge-python": {"trigger_quantile": 0.8, "budget": 0.5}}
    settings = make_bench(policies=["none", "hedge-python"], blocks=1, requests=300, overrides=changes)
    journal = journal_of(settings, tmp_path)
    asyncio.run(run_bench(settings, journal))

    rows, _ = report_bench(settings, journal, tmp_path, command="test")
    none, hedged = rows
    assert (none.policy, none.extra_work, hedged.policy) == ("none", 0, "hedge-python")
    assert (hedged.requests, hedged.failed, hedged.degraded_share) == (300, 0, 0)
    assert hedged.a_o == hedged.a_a == none.a_a
    assert 0 < hedged.backups_per_query < 0.5
    assert 0 < hedged.extra_work < 0.5


def test_stopped_processes_lose_no_request(make_bench: MakeBench, tmp_path: Path) -> None:
    times = {"scale": 0.1, "normal_seconds": 6.0, "stopped_seconds": 4.0}
    settings = make_bench(policies=["none", "collage"], stragglers=["stopped"], requests=400, blocks=1, times=times)
    journal = journal_of(settings, tmp_path)
    asyncio.run(run_bench(settings, journal))

    none, collage = report_bench(settings, journal, tmp_path, command="test")[0]
    assert (none.straggler, none.requests, none.failed, none.degraded_share) == ("stopped", 400, 0, 0)
    assert (collage.requests, collage.failed) == (400, 0)
    assert none.a_o == collage.a_o == none.a_a
    assert sum(result.overruns for result in journal.done.values()) == 0  # a stop is not the machine's doing


@pytest.mark.parametrize("straggler", ["hogged", "delayed"])
def test_what_is_really_slow_loses_no_request(make_bench: MakeBench, tmp_path: Path, straggler: str) -> None:
    if straggler == "hogged" and (sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2):
        pytest.skip("needs Linux and two cores")
    times = {"scale": 0.1, "normal_seconds": 6.0, "hogged_seconds": 4.0, "delayed_seconds": 4.0, "delay": 1.0}
    settings = make_bench(policies=["none", "collage"], stragglers=[straggler], blocks=1, times=times)
    journal = journal_of(settings, tmp_path)
    asyncio.run(run_bench(settings, journal))

    none, collage = report_bench(settings, journal, tmp_path, command="test")[0]
    assert (none.straggler, none.requests, none.failed, none.degraded_share) == (straggler, 150, 0, 0)
    assert (collage.requests, collage.failed) == (150, 0)
    assert none.a_o == collage.a_o == none.a_a
    assert sum(result.overruns for result in journal.done.values()) == 0  # it is meant to be slow
    if straggler == "delayed":
        assert none.p99 > 0.1 * 2  # a call that met the delay, each way


def test_a_stopped_run_goes_on_where_it_was(make_bench: MakeBench, tmp_path: Path) -> None:
    settings = make_bench(policies=["none", "collage"], blocks=1, requests=60, warmup=0)
    first, second = turns(settings)

    def stop_in_second(step: Step) -> None:
        if step.turn == second:
            raise KeyboardInterrupt

    journal = journal_of(settings, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run_bench(settings, journal, stop_in_second))
    again = journal_of(settings, tmp_path)
    assert list(again.done) == [first]
    kept = again.done[first]

    asyncio.run(run_bench(settings, again))
    finished = journal_of(settings, tmp_path)
    assert set(finished.done) == {first, second}
    assert finished.done[first] == kept


@pytest.mark.parametrize("limits", [{"cpu_share": 1e-9}, {"overruns": 0.0, "tolerance": 0.0, "cpu_share": 1.0}])
def test_a_setting_that_measures_the_machine_is_refused(
    make_bench: MakeBench, tmp_path: Path, limits: dict[str, float]
) -> None:
    settings = make_bench(limits=limits | {"repeats": 1})
    journal = journal_of(settings, tmp_path)

    with pytest.raises(SettingsError, match=r"times\.scale"):
        asyncio.run(run_bench(settings, journal))
    assert not journal.done


@pytest.mark.parametrize("policy", ["none", "collage"])
def test_killed_workers_lose_no_request(make_bench: MakeBench, policy: str) -> None:
    settings = make_bench(policies=[policy], requests=2000, warmup=0, blocks=1, workers=4, times={"scale": 0.02})
    choose = random.Random(5)
    kills: list[tuple[str, int]] = []

    async def scenario() -> None:
        async with open_stage(settings) as stage:
            sent = 0

            def kill_sometimes(at: float) -> None:
                nonlocal sent
                sent += 1
                if sent % 250 == 100:
                    alive = [(name, pid) for name, pid in stage.local.workers.items() if pid is not None]
                    kills.append(choose.choice(alive))
                    os.kill(kills[-1][1], signal.SIGKILL)

            result = await take_turn(next(turns(settings)), settings, stage, kill_sometimes)
            assert sent == 2000
            assert result.failed == 0
            assert sum(result.sources.values()) == len(result.latencies) == 2000
            assert result.right == result.single_right  # each answer is the class that its image has
            assert result.jobs >= 2000
            assert not {pid for _, pid in kills} & set(stage.local.workers.values())

    asyncio.run(scenario())
    assert len(kills) == 8
    assert len({name for name, _ in kills}) >= 3


def test_a_load_beyond_the_workers_ends_with_its_arrivals_and_says_so(make_bench: MakeBench, tmp_path: Path) -> None:
    settings = make_bench(policies=["none", "replicate"], loads=[0.8], blocks=1, requests=400, warmup=0)
    journal = journal_of(settings, tmp_path)
    asyncio.run(run_bench(settings, journal))

    rows, _ = report_bench(settings, journal, tmp_path, command="test")
    assert [(row.policy, row.overloaded, row.failed, row.requests) for row in rows] == [
        ("none", False, 0, 400),
        ("replicate", True, 0, 400),
    ]
    table = (tmp_path / "small" / "table.md").read_text()
    assert "| replicate † |" in table
    assert "| none |" in table
    assert "† overloaded" in table


def test_what_the_environment_says_is_for_the_gateway_alone(
    make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("max_image_bytes", "64"), ("policy", "none"), ("control_share", "1.0")):
        monkeypatch.setenv(f"COLLAGE_SERVE_{name.upper()}", value)
    settings = make_bench(policies=["collage"], blocks=1, requests=50, warmup=0)
    journal = journal_of(settings, tmp_path)
    asyncio.run(run_bench(settings, journal))

    (result,) = journal.done.values()
    assert (result.failed, sum(result.sources.values())) == (0, 50)
