"""Parity and learned codes, served: what a straggler keeps back is rebuilt from the group's job and the others."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from collage.codes import ParityCode, ReplicaCode
from collage.dispatch import Answer, Decode, Outcome, Role, Settled, Source, Start
from collage.engines import Submission
from collage.exceptions import ModelError, SettingsError
from collage.imaging import Preprocessing
from collage.serving import DataPlane, Encoded, ServingSettings
from collage.serving._driver import Driver

FOREVER, CLASSES = 1000.0, 10
LEVELS = np.arange(CLASSES, dtype=np.float32) / 9


def write(path: Path, nodes: list[Any], values: dict[str, Any], shape: list[Any]) -> str:
    """An ONNX file from "in" to "out"; its hash."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_backup(models: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """The card of an exact code of two greys: their single is linear but for what is added to every output."""

    def make(role: str) -> Path:
        single = json.loads(models["single"].read_text())
        size = single["preprocessing"]["size"]
        card = single | {"name": f"greys-{role}", "role": role, "k": 2, "single_sha256": single["sha256"]}
        card["file"] = f"greys-{role}.onnx"
        bias = -100 * LEVELS**2
        if role == "parity":
            nodes = [
                helper.make_node("ReduceMean", ["in"], ["means"], axes=[1, 2, 3], keepdims=0),
                helper.make_node("Reshape", ["means", "column"], ["rows"]),
                helper.make_node("MatMul", ["rows", "w"], ["scaled"]),
                helper.make_node("Add", ["scaled", "b"], ["out"]),
            ]
            values = {"column": np.array([-1, 1]), "w": (200 * LEVELS)[None], "b": 2 * bias}
            card |= {"encoder": "sum", "sha256": write(tmp_path / card["file"], nodes, values, [1, size, size])}
        else:
            nodes = [helper.make_node("ReduceSum", ["in", "axis"], ["out"], keepdims=1)]
            card["sha256"] = write(tmp_path / card["file"], nodes, {"axis": np.array([1])}, [2, size, size])
            eye = np.eye(CLASSES, dtype=np.float32)
            # The single adds its bias once to the sum; each answer is the group's row less the other's.
            values = {"w": np.hstack([np.vstack([-eye, -eye, eye])] * 2), "b": np.tile(bias, 2)}
            values["shape"] = np.array([-1, 2, CLASSES])
            nodes = [
                helper.make_node("MatMul", ["in", "w"], ["product"]),
                helper.make_node("Add", ["product", "b"], ["sum"]),
                helper.make_node("Reshape", ["sum", "shape"], ["out"]),
            ]
            second = {"file": "greys-decoder.onnx"}
            second["sha256"] = write(tmp_path / second["file"], nodes, values, [3 * CLASSES])
            card["decoder"] = second
        path = tmp_path / f"greys-{role}.json"
        path.write_text(json.dumps(card))
        return path

    return make


@pytest.mark.parametrize("role", ["parity", "learned"])
def test_a_stragglers_answer_is_rebuilt_by_the_gateway(
    models: dict[str, Path], png: Callable[[int], bytes], make_backup: Callable[[str], Path], role: str
) -> None:
    times = iter([FOREVER])  # the first single's; all others take their own

    def hold(worker: str, role: Role) -> float:
        return next(times, 0.0) if role is Role.SINGLE else 0.0

    async def main() -> None:
        settings = ServingSettings(
            single=str(models["single"]),
            backup=str(make_backup(role)),
            workers=3,
            policy=role,
            policy_overrides={"accept": "first", "budget": 4},
            control_share=0.0,
        )
        plane = DataPlane(settings, hold=hold)
        try:
            await plane.start()
            answers = await plane.classify([Encoded(png(7)), Encoded(png(2))])
        finally:
            await plane.stop()
        assert [answer.index for answer in answers] == [7, 2]
        assert [answer.source for answer in answers] == [Source(role), Source.SINGLE]
        rebuilt = answers[0]
        assert rebuilt.degraded
        mean = np.float32(round(255 * LEVELS[rebuilt.index])) / 255
        np.testing.assert_allclose(rebuilt.scores, 200 * LEVELS * mean - 100 * LEVELS**2, atol=0.05)
        assert rebuilt.confidence > 0.5

    asyncio.run(main())


def test_a_backup_of_another_form_or_kind_is_refused(
    models: dict[str, Path], make_backup: Callable[[str], Path]
) -> None:
    path = make_backup("parity")
    given = {"single": str(models["single"]), "backup": str(path)}
    with pytest.raises(SettingsError, match=r"is a parity; policy 'learned' needs a learned model"):
        DataPlane(ServingSettings(policy="learned", **given))
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"preprocessing": card["preprocessing"] | {"mean": [0.5]}}))
    with pytest.raises(ModelError, match="preprocessing differs"):
        DataPlane(ServingSettings(policy="parity", **given))
    path.write_text(json.dumps(card | {"output": "probabilities"}))
    with pytest.raises(ModelError, match="gives probabilities, but greys gives logits"):
        DataPlane(ServingSettings(policy="parity", **given))


class Script:
    """A dispatcher without a mind: what an event brings is put down beforehand."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.brings: dict[str, list[list[Any]]] = {}
        self.next_tick = None

    def __getattr__(self, name: str) -> Callable[..., list[Any]]:
        def event(*details: Any) -> list[Any]:
            self.events.append((name, *details[:-1]))
            queued = self.brings.get(name)
            return queued.pop(0) if queued else []

        return event


class Jobs:
    """An engine that does nothing."""

    workers: dict[str, None] = {"a": None}  # noqa: RUF012

    async def start(self, listener: Driver) -> None:
        listener.worker_up("a", frozenset({Role.SINGLE, Role.PARITY}), 4)

    def submit(self, job: Submission) -> None: ...

    def cancel(self, job: int) -> None: ...


def row(*scores: float) -> np.ndarray:
    return np.array([scores], np.float32)


def driven(test: Callable[[Script, Driver, list[asyncio.Future[Any]]], Any]) -> None:
    """Two queries in one parity, number 3; their singles are 1 and 2."""

    async def main() -> None:
        pre = Preprocessing(size=2, channels=1, mean=(0.0,), std=(1.0,))
        script = Script()
        driver = Driver(script, ReplicaCode(pre, 3), [ParityCode(2, "sum", pre, 3)])  # type: ignore[arg-type]
        await driver.start(Jobs())  # type: ignore[arg-type]
        script.brings["submit"] = [
            [Start(1, "a", Source.SINGLE, (1,))],
            [Start(2, "a", Source.SINGLE, (2,)), Start(3, "a", Source.PARITY, (1, 2), 2)],
        ]
        results = [driver.submit(np.zeros((1, 2, 2), np.float32)) for _ in range(2)]
        script.events.clear()
        await test(script, driver, results)

    asyncio.run(main())


def test_the_driver_keeps_output_and_scores_until_it_is_asked() -> None:
    async def test(script: Script, driver: Driver, results: list[asyncio.Future[Any]]) -> None:
        driver.job_completed(3, row(5, 1, 0), 0.1)
        assert script.events == [("completed", 3, ())]
        script.brings = {
            "completed": [[Answer(1, Source.SINGLE, 0.9, 1, 0), Decode(3, 1), Settled(1, control=False)]],
            "decoded": [[Answer(2, Source.PARITY, 0.7, 3, 1), Settled(2, control=False)]],
        }
        driver.job_completed(1, row(1, 4, 0), 0.1)
        _, job, position, outcome = script.events[-1]
        assert (job, position, outcome.known) == (3, 1, True)
        assert outcome.confidence == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(-3) + 1), abs=1e-6)
        assert (await results[1]).scores.tolist() == [4, -3, 0]
        assert driver._joints._ended == {}
        assert driver._queries == {}

    driven(test)


@pytest.mark.parametrize("output", [row(np.nan, 0, 0), row(np.inf, 0, 0), row(1, 2), np.zeros((2, 3), np.float32)])
def test_garbage_from_a_parity_fails_its_job(output: np.ndarray) -> None:
    async def test(script: Script, driver: Driver, results: list[asyncio.Future[Any]]) -> None:
        driver.job_completed(3, output, 0.1)
        assert [event[:2] for event in script.events] == [("failed", 3)]

    driven(test)


def test_what_cannot_be_read_is_said_to_be_unknown() -> None:
    async def test(script: Script, driver: Driver, results: list[asyncio.Future[Any]]) -> None:
        driver.job_completed(3, row(5, 1, 0), 0.1)
        script.brings["completed"] = [[Decode(3, 1), Decode(99, 0)]]  # the other single is not there
        driver.job_completed(2, row(1, 1, 1), 0.1)
        assert script.events[-2:] == [
            ("decoded", 3, 1, Outcome(False, 0.0)),
            ("decoded", 99, 0, Outcome(False, 0.0)),
        ]

    driven(test)
