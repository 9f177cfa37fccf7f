"""The drift guard: a backup that no longer agrees with its single is switched off, is seen to be, and can come back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from collage.exceptions import SettingsError
from collage.serving import Agreement, DataPlane, load_settings

COLLAGES = 'collage_jobs_started_total{source="collage"}'
POLICY = {"trigger": "at_once", "accept": "first", "budget": 4.0, "warmup": 1}


@given(st.lists(st.booleans(), max_size=400), st.floats(0, 1))
def test_the_guard_looks_at_the_last_two_hundred(seen: list[bool], least: float) -> None:
    agreement, free = Agreement(least), Agreement()
    off = False
    for number, same in enumerate(seen, 1):
        agreement.add(same)
        free.add(same)
        last = seen[max(0, number - 200) : number]
        off = off or (len(last) >= 100 and sum(last) / len(last) < least)
        assert agreement.backup_off is off
        assert agreement.recent == (sum(last) / len(last) if len(last) >= 100 else None)
    assert (agreement.agreed, agreement.compared) == (sum(seen), len(seen))
    assert not free.backup_off
    agreement.switch(on=True)
    assert (agreement.backup_off, agreement.recent) == (False, None)


@pytest.fixture(scope="module")
def drifted(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collage-cnn with its classes the wrong way round: "g0" where it should say "g9"."""
    folder = tmp_path_factory.mktemp("drifted")
    card = json.loads(models["collage"].read_text())
    model = onnx.load(models["collage"].with_name(card["file"]))
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "b"):
            turned = np.ascontiguousarray(numpy_helper.to_array(tensor)[..., ::-1])
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
    data = model.SerializeToString()
    (folder / card["file"]).write_bytes(data)
    path = folder / "drifted.json"
    path.write_text(json.dumps(card | {"sha256": hashlib.sha256(data).hexdigest()}))
    return path


def test_a_backup_that_disagrees_is_switched_off_until_somebody_switches_it_on(
    start_gateway: Any, drifted: Path, png: Any
) -> None:
    gateway = start_gateway(
        backup=drifted,
        control_share=1.0,
        least_agreement=0.5,
        policy_overrides=POLICY,
        workers=2,
    )
    asked = 0
    while gateway.metrics()["collage_backup_off"] == 0:  # the test's own timeout is the limit
        for label in range(10):
            gateway.ask("POST", "/v1/classify", png(label))
        asked += 10
    assert asked >= 100
    seen = gateway.metrics()
    assert seen["collage_agreement_least"] == 0.5
    assert seen["collage_agreement_recent"] < 0.5
    _, status, _ = gateway.ask("GET", "/v1/status")
    assert status["backup_off"] is True

    sent = gateway.metrics()[COLLAGES]
    for label in range(10):
        _, answer, _ = gateway.ask("POST", "/v1/classify", png(label))
        assert (answer["degraded"], answer["label"]) == (False, f"g{label}")  # a late one is resent to the single
    assert gateway.metrics()[COLLAGES] == sent

    code, answer, _ = gateway.ask("POST", "/v1/backup/on", b"", {"Origin": "http://elsewhere.invalid"})
    assert (code, answer["error"]) == (403, "only for this service's own page")
    code, answer, _ = gateway.ask("POST", "/v1/backup/maybe", b"")
    assert (code, answer["error"]) == (400, "state: 'maybe'; on or off is needed")
    assert gateway.metrics()["collage_backup_off"] == 1
    assert gateway.ask("POST", "/v1/backup/on", b"")[:2] == (200, {"backup": "greys-3x3", "on": True})
    assert gateway.metrics()["collage_backup_off"] == 0
    gateway.ask("POST", "/v1/classify", png(1))
    gateway.await_metric(COLLAGES, sent + 1)
    assert gateway.ask("POST", "/v1/backup/off", b"")[:2] == (200, {"backup": "greys-3x3", "on": False})
    assert gateway.metrics()["collage_backup_off"] == 1


def test_the_level_comes_from_the_card_unless_it_is_set(models: dict[str, Path], tmp_path: Path) -> None:
    card = json.loads(models["collage"].read_text())
    (tmp_path / card["file"]).write_bytes(models["collage"].with_name(card["file"]).read_bytes())
    card["accuracy"] = {"test_images": 10, "accuracy": 0.9, "agreement": 0.95}
    measured = tmp_path / "measured.json"
    measured.write_text(json.dumps(card))

    def level(backup: Path, **settings: Any) -> float | None:
        return DataPlane(load_settings(single=str(models["single"]), backup=str(backup), **settings)).agreement.least

    assert level(measured) == pytest.approx(0.8)
    assert level(measured, least_agreement=0.9) == 0.9
    assert level(measured, least_agreement="none") is None
    assert level(measured, policy="hedge") is None
    assert level(models["collage"]) is None
    with pytest.raises(SettingsError, match="least_agreement"):
        load_settings(least_agreement=1.5)
