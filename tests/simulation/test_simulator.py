"""Virtual time: exact on cases worked out by hand, the same for the same seed, and near queueing theory."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from collage.cli import main
from collage.dispatch import PRESETS, Dispatcher, Outcome, Role, Source, get_policy, worker_roles
from collage.simulation import CallCost, ProfileTimes, Simulator, compare, load_profile


@dataclass(frozen=True)
class Given:
    """Every worker takes these times in turn, the last one for ever."""

    times: tuple[float, ...]
    mean: float = 1.0

    def worker(self, rng: np.random.Generator) -> Given.Stream:
        return Given.Stream(list(self.times))

    @dataclass
    class Stream:
        left: list[float]

        def draw(self, now: float) -> float:
            return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def simulator(policy: str, times: Given, workers: int, *, cancels: bool = False, **changes: object) -> Simulator:
    chosen = get_policy(policy, **changes)
    dispatcher = Dispatcher(chosen, capacity=4 if chosen.code is Source.COLLAGE else 1, control_share=0.0)
    roles = worker_roles(chosen, [f"w{index}" for index in range(workers)])
    return Simulator(dispatcher, times, roles, np.random.default_rng(0), cancels=cancels)


def test_a_queue_worked_out_by_hand() -> None:
    run = simulator("none", Given((2.0,)), workers=1).run(np.array([0.0, 1.0, 1.5, 10.0]))
    assert run.latencies.tolist() == [2.0, 3.0, 4.5, 2.0]
    assert run.sources == [Source.SINGLE] * 4


def test_a_hedge_worked_out_by_hand() -> None:
    # Twenty jobs of 1 s are learnt from, ten on each of two workers; then one worker takes 9 s.
    arrivals = np.array([*np.arange(0.0, 20.0, 1.0), 30.0])
    times = Given((*[1.0] * 10, 9.0))
    sim = simulator("hedge", times, workers=2, warmup=20, budget=0.2)
    sim._streams["w1"] = Given((1.0,)).worker(np.random.default_rng(0))
    run = sim.run(arrivals)
    # Late at 1.0 s (as the sketch knows it), then a second single of 1 s on the other worker.
    assert run.sources[-1] is Source.REPLICA
    assert run.latencies[-1] == pytest.approx(2.0, rel=0.011)


@pytest.mark.parametrize("cancels", [False, True])
def test_cancelling_frees_a_worker_or_does_nothing(cancels: bool) -> None:
    sim = simulator("replicate", Given((1.0,)), workers=2, cancels=cancels)
    sim._streams["w0"] = Given((5.0, 1.0)).worker(np.random.default_rng(0))
    run = sim.run(np.array([0.0, 1.5]))
    assert run.latencies.tolist() == [1.0, 1.0]
    assert run.sources[0] is Source.REPLICA
    assert sim.dispatcher.stats.late_answers == (0 if cancels else 1)
    assert sim.dispatcher.view(sim.now).workers[0].jobs == 0


def test_an_unknown_tile_never_answers() -> None:
    policy = get_policy("collage", warmup=10, second_line=False)
    sim = Simulator(
        Dispatcher(policy, capacity=4, control_share=0.0),
        ProfileTimes(load_profile("resnet34-cpu")),
        worker_roles(policy, ["a", "b", "c", "d"]),
        np.random.default_rng(1),
        outcome=lambda source, query: Outcome(not source.degraded, 0.5),
    )
    run = sim.run(np.arange(500) * 0.1)
    assert set(run.sources) == {Source.SINGLE}
    assert sim.dispatcher.stats.unknown > 0


@pytest.mark.parametrize("policy", PRESETS)
def test_the_same_seed_gives_the_same_run(policy: str) -> None:
    times = ProfileTimes(load_profile("resnet34-cpu"))
    first, second = (
        list(compare({policy: PRESETS[policy]}, times, loads=[0.4], requests=1500, seed=3)) for _ in range(2)
    )
    assert first == second
    assert first[0].requests == 1500


def test_an_m_d_1_queue_waits_as_pollaczek_and_khinchine_say() -> None:
    rng = np.random.default_rng(5)
    load, count = 0.5, 40_000
    run = simulator("none", Given((1.0,)), workers=1).run(np.cumsum(rng.exponential(1 / load, count)))
    assert run.latencies.mean() == pytest.approx(1 + load / (2 * (1 - load)), rel=0.03)


def test_redundancy_shortens_the_tail_at_the_work_it_is_allowed() -> None:
    times = ProfileTimes(load_profile("resnet34-cpu"))
    names = ["none", "hedge", "cheap", "collage", "collage-dedicated"]
    costs = {Role.CHEAP: CallCost(0.1, 0.015)}
    rows = compare({n: PRESETS[n] for n in names}, times, loads=[0.5], requests=6000, costs=costs)
    found = {row.policy: row for row in rows}
    assert found["none"].extra_work == 0
    for name in names[1:]:
        assert found[name].p99 < 0.6 * found["none"].p99
        assert 0 < found[name].extra_work <= PRESETS[name].budget * 1.02
    assert found["collage"].tiles_per_backup > 3
    assert found["hedge"].degraded_share == 0


@pytest.mark.parametrize("k", [2, 3])
def test_a_parity_rebuilds_what_straggles_alone(k: int) -> None:
    times = ProfileTimes(load_profile("resnet34-cpu"))
    policies = {name: PRESETS[name] for name in ("none", "parity", "learned")}
    rows = compare(policies, times, loads=[0.4], requests=3000, k=k)
    found = {row.policy: row for row in rows}
    for name in ("parity", "learned"):
        assert k - 0.1 < found[name].tiles_per_backup <= k  # full groups; a few singles sent again
        assert 0 < found[name].degraded_share < 0.1
        assert 0 < found[name].extra_work <= 1.02 / k + 0.05
        assert found[name].p99 < 0.8 * found["none"].p99


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
