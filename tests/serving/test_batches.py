"""Singles that wait share a call, on real workers here and elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from collage.dispatch import Source
from collage.exceptions import ModelError
from collage.serving import DataPlane, Encoded, ServingSettings, load_settings

ORDER = [7, 2, 5, 0, 9, 1, 1, 8, 3]


def _plane(models: dict[str, Path], **changes: Any) -> DataPlane:
    given = {"single": str(models["single"]), "backup": "none", "policy": "none", "max_batch": 4} | changes
    return DataPlane(ServingSettings(**given), hold=lambda *_: 0.02)


async def _ask(plane: DataPlane, png: Any) -> list[int]:
    """Nine images at once; how many shared each call, the first first."""
    await plane.start()
    try:
        answers = await plane.classify([Encoded(png(index)) for index in ORDER], deadline=60.0)
        assert [answer.index for answer in answers] == ORDER
        assert {answer.source for answer in answers} == {Source.SINGLE}
        assert all(answer.confidence > 0 for answer in answers)
    finally:
        await plane.stop()
    return [size for (_, size), done in plane.executed.items() for _ in range(done.count)]


def test_each_image_of_a_shared_call_gets_its_own_answer(models: dict[str, Path], png: Any) -> None:
    assert asyncio.run(_ask(_plane(models, workers=1), png)) == [1, 4, 4]


def test_on_a_remote_server_too(models: dict[str, Path], png: Any, start_gateway: Any, tmp_path: Path) -> None:
    behind = start_gateway(grpc_port=0, policy="none", workers=1)
    for url in (behind.url, f"grpc://{behind.grpc}"):
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(f'[[remote]]\nurls = ["{url}"]\n')
        assert asyncio.run(_ask(_plane(models, fleet=fleet), png)) == [1, 4, 4]


def test_statistics_say_how_many_shared_a_call(models: dict[str, Path], png: Any, start_gateway: Any) -> None:
    gateway = start_gateway(hold=0.05, policy="none", workers=1, max_batch=8)
    pixels = [28 * index for index in ORDER for _ in range(64)]
    images = {"name": "images", "datatype": "UINT8", "shape": [9, 8, 8], "data": pixels}
    status, answer, _ = gateway.ask("POST", "/v2/models/greys/infer", json.dumps({"inputs": [images]}).encode())
    assert status == 200, answer
    (stats,) = gateway.ask("GET", "/v2/models/greys/stats")[1]["model_stats"]
    assert (stats["inference_count"], stats["execution_count"]) == (9, 2)
    assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]} == {1: 1, 8: 1}
    assert gateway.metrics()['collage_jobs_started_total{source="single"}'] == 2
    assert gateway.stop()[0] == 0


def test_a_model_for_one_image_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    card = json.loads(models["single"].read_text())
    model = onnx.load(models["single"].with_name(card["file"]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    data = model.SerializeToString()
    (tmp_path / card["file"]).write_bytes(data)
    single = tmp_path / "greys.json"
    single.write_text(json.dumps(card | {"sha256": hashlib.sha256(data).hexdigest()}))
    message = r"max_batch: a call of greys takes 1 image \('images' has shape \[1, 1, 8, 8\]\); export it with a free"
    with pytest.raises(ModelError, match=message):
        _plane({"single": single})
    assert _plane({"single": single}, max_batch=1).single.card.name == "greys"


def test_the_shipped_single_takes_batches() -> None:
    assert DataPlane(load_settings(max_batch=8)).dispatcher is not None
