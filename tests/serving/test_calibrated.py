"""Confidence is made at the temperature in a model's card; scores stay the model's own; policies take its threshold."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.serving import DataPlane, Encoded, ServingSettings
from collage.serving._http_classify import describe
from collage.serving._oip_model import OipModel

CALIBRATION = {
    "dataset": "greys",
    "split": {"images": 10, "seed": 0},
    "bins": 15,
    "ece_before": 0.2,
    "ece_after": 0.01,
}


@pytest.fixture
def calibrated(models: dict[str, Path], tmp_path: Path) -> ServingSettings:
    """Copies of the models whose cards have a temperature of 25, and a collage that may be relied on from 0.83."""
    paths = {}
    for role, path in models.items():
        card = json.loads(path.read_text())
        shutil.copy(path.with_name(card["file"]), tmp_path)
        card["calibration"] = CALIBRATION | {"temperature": 25.0, "confident": 0.83 if role == "collage" else None}
        paths[role] = tmp_path / path.name
        paths[role].write_text(json.dumps(card))
    return ServingSettings(single=str(paths["single"]), backup=str(paths["collage"]), workers=1)


def test_confidence_is_calibrated_and_scores_are_not(calibrated: ServingSettings, png: Any) -> None:
    async def ask() -> Any:
        plane = DataPlane(calibrated.model_copy(update={"policy": "none"}))
        await plane.start()
        try:
            return (await plane.classify([Encoded(png(4))]))[0], OipModel.of(plane.single)
        finally:
            await plane.stop()

    answer, model = asyncio.run(ask())
    logits = answer.scores.astype(float)
    assert logits.max() - logits.min() > 20  # as the model gives them
    powers = np.exp((logits - logits.max()) / 25)
    assert answer.confidence == pytest.approx(powers.max() / powers.sum(), rel=1e-4)
    assert answer.confidence < 0.3
    top = describe(answer, model, 10, seconds=0.1)["top"]
    assert top[0]["probability"] == pytest.approx(answer.confidence, abs=1e-5)
    assert sum(entry["probability"] for entry in top) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("overrides", "expected"), [({}, 0.83), ({"confidence": 0.5}, 0.5), ({"accept": "confident"}, 0.83)]
)
def test_a_policy_without_a_threshold_takes_the_backups(
    calibrated: ServingSettings, overrides: dict[str, Any], expected: float
) -> None:
    plane = DataPlane(calibrated.model_copy(update={"policy_overrides": overrides}))
    assert plane.dispatcher.policy.confident_from == expected


def test_where_no_card_says_anything_the_threshold_is_fixed(models: dict[str, Path]) -> None:
    plane = DataPlane(ServingSettings(single=str(models["single"]), backup=str(models["collage"])))
    assert plane.dispatcher.policy.confident_from == 0.9
