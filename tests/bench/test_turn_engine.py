"""Worker processes that outlive turns: padded jobs, roles of the turn's policy, and nothing left running at its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from collage.bench import BenchSettings
from collage.bench._padding import Padding, call_costs
from collage.bench._plane import load_models, open_plane
from collage.bench._turn_engine import TurnEngine
from collage.dispatch import Role
from collage.engines import LocalEngine, Submission
from collage.exceptions import SettingsError
from collage.simulation import CallCost, TraceTimes

from .conftest import Listener

BOTH = frozenset({Role.SINGLE, Role.COLLAGE})


def padding(seconds: float, costs: dict[Role, CallCost] | None = None) -> Padding:
    times = TraceTimes(np.full(10, seconds))
    return Padding(times, costs or {Role.SINGLE: CallCost(1.0, 0.0)}, ["w0", "w1"], np.random.default_rng(0))


def grey(index: int) -> NDArray[np.float32]:
    return np.full((1, 1, 8, 8), index / 9, np.float32)


def with_workers(models: dict[str, str], scenario: Callable[[LocalEngine], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        paths = {Role(role): Path(path).with_suffix(".onnx") for role, path in models.items() if role != "cheap"}
        local = LocalEngine(paths, 2)
        await local.start(Listener())
        try:
            await scenario(local)
        finally:
            await local.stop()

    asyncio.run(main())


def test_a_turn_hears_of_workers_in_its_own_roles_and_its_jobs_take_their_draws(models: dict[str, str]) -> None:
    async def scenario(local: LocalEngine) -> None:
        for roles in ({"w0": BOTH, "w1": BOTH}, {"w0": frozenset({Role.SINGLE}), "w1": frozenset({Role.COLLAGE})}):
            turn, listener = TurnEngine(local, roles, padding(0.05), slack=100.0), Listener()
            await turn.start(listener)
            assert {await listener.heard.get() for _ in roles} == {("up", name, own) for name, own in roles.items()}
            turn.submit(Submission(1, "w0", Role.SINGLE, grey(7)))
            kind, job, answer, seconds = await listener.heard.get()
            assert (kind, job, answer) == ("completed", 1, 7)
            assert isinstance(seconds, float)
            assert seconds >= 0.05
            assert (turn.jobs, turn.overruns) == (1, 0)
            await turn.stop()

    with_workers(models, scenario)


def test_a_turn_ends_when_nothing_of_it_runs(models: dict[str, str]) -> None:
    async def scenario(local: LocalEngine) -> None:
        roles = {"w0": BOTH, "w1": BOTH}
        turn, listener = TurnEngine(local, roles, padding(0.05), slack=0.0), Listener()
        await turn.start(listener)
        turn.submit(Submission(1, "w0", Role.SINGLE, grey(1)))
        turn.submit(Submission(2, "w1", Role.SINGLE, grey(2)))
        await turn.stop()
        assert turn.jobs == 2
        assert turn.overruns == 2  # no job takes exactly its draw

        following = Listener()
        await TurnEngine(local, roles, padding(0.01), slack=0.0).start(following)
        assert {following.heard.get_nowait()[:2] for _ in roles} == {("up", "w0"), ("up", "w1")}

    with_workers(models, scenario)


def test_a_worker_that_dies_ends_its_job_and_comes_back(models: dict[str, str]) -> None:
    async def scenario(local: LocalEngine) -> None:
        roles = {"w0": BOTH, "w1": BOTH}
        turn, listener = TurnEngine(local, roles, padding(3600.0), slack=0.0), Listener()
        await turn.start(listener)
        for _ in roles:
            await listener.heard.get()
        turn.submit(Submission(1, "w0", Role.SINGLE, grey(1)))
        pid = local.workers["w0"]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await listener.heard.get() == ("down", "w0")
        await turn.stop()  # or it would wait for an hour
        assert turn.jobs == 0

    with_workers(models, scenario)


def test_a_backups_time_is_its_ratio_of_a_draw_and_its_overhead() -> None:
    costs = {Role.SINGLE: CallCost(1.0, 0.0), Role.COLLAGE: CallCost(1.5, 0.0), Role.CHEAP: CallCost(0.25, 0.01)}
    pad = padding(0.2, costs)

    assert [pad.draw("w0", role) for role in costs] == pytest.approx([0.2, 0.3, 0.06])


def test_costs_come_from_the_file_or_from_the_card(models: dict[str, str]) -> None:
    def settings(**costs: object) -> BenchSettings:
        values = {
            "name": "x",
            "policies": ["cheap", "collage"],
            "loads": [0.5],
            "models": models,
            "times": {"scale": 0.1},
        }
        return BenchSettings.model_validate(values | {"costs": costs})

    given = settings(cheap={"ratio": 0.3, "overhead": 0.02}, collage={"ratio": 0.9})
    assert call_costs(given, load_models(given)) == {
        Role.SINGLE: CallCost(1.0, 0.0),
        Role.COLLAGE: CallCost(0.9, 0.0),
        Role.CHEAP: CallCost(0.3, pytest.approx(0.002)),
    }
    absent = settings(cheap={})
    with pytest.raises(SettingsError, match=r"costs\.cheap\.ratio"):  # a card without measured times
        call_costs(absent, load_models(absent))


def test_a_policy_that_chooses_gets_all_that_is_named(models: dict[str, str]) -> None:
    def settings(policy: str, **named: str) -> BenchSettings:
        values = {"name": "x", "policies": [policy], "loads": [0.5], "models": named}
        return BenchSettings.model_validate(values)

    single, collage, cheap = models["single"], models["collage"], models["cheap"]
    both = settings("auto", single=single, collage=collage, cheap=cheap)
    assert set(load_models(both)) == {Role.SINGLE, Role.COLLAGE, Role.CHEAP}
    # What is not named is done without: no default model is bound to another single.
    assert set(load_models(settings("auto", single=single, collage=collage))) == {Role.SINGLE, Role.COLLAGE}
    with pytest.raises(SettingsError, match=r"models\.cheap: is needed for policy cheap"):
        load_models(settings("cheap", single=single, collage=collage))

    class Local:
        workers = ("w0", "w1")
        cancel_effect = "nothing"

    stage: Any = SimpleNamespace(local=Local())
    plane = open_plane("auto", both, stage, engine=Local())  # type: ignore[arg-type]
    assert [model.card.role for model in plane.backups] == [Role.COLLAGE, Role.CHEAP]
