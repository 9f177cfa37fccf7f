"""Calibration error by hand, temperatures that are known, and cards that serving makes confidence from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import make_code
from collage.exceptions import ModelError
from collage.training import (
    BINS,
    assess,
    calibrate,
    calibration_error,
    confidences,
    confident_from,
    fit_temperature,
    load_validation,
    read_joint,
    read_outcomes,
    reliability,
    reliances,
    score_images,
    validation_logits,
)
from collage.zoo import LoadedModel, ModelCard, load_model

pytestmark = pytest.mark.train


def test_calibration_error_by_hand() -> None:
    # Bins of a fifth: (0.4, 0.6] holds 0.5, 0.6; (0.8, 1] holds 0.9, 0.9, 1.0.
    confidence = np.array([0.5, 0.6, 0.9, 0.9, 1.0])
    right = np.array([True, False, True, True, False])
    by_bin = reliability(confidence, right, bins=5)
    assert by_bin.answers.tolist() == [0, 0, 2, 0, 3]
    assert by_bin.confidence.tolist() == [0, 0, pytest.approx(0.55), 0, pytest.approx(2.8 / 3)]
    assert by_bin.accuracy.tolist() == [0, 0, 0.5, 0, pytest.approx(2 / 3)]
    assert calibration_error(confidence, right, bins=5) == pytest.approx(2 / 5 * 0.05 + 3 / 5 * 0.8 / 3)
    assert calibration_error(confidence[:0], right[:0]) == 0.0
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0.0
    assert calibration_error(np.zeros(4), np.ones(4, bool)) == 1.0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (chances.cumsum(1) < rng.random((len(logits), 1))).sum(1)  # drawn as the logits say
    found = fit_temperature(logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    right = logits.argmax(1) == labels
    confidence = confidences((logits * temperature).astype(np.float32), found)
    assert calibration_error(confidence, right) < 0.02
    raw = confidences((logits * temperature).astype(np.float32), 1.0)
    assert temperature == 1 or calibration_error(raw, right) > 0.05


def test_where_all_are_right_the_least_temperature_is_taken() -> None:
    assert fit_temperature(np.eye(3) * 4, np.arange(3)) == pytest.approx(0.05, rel=1e-6)


def test_a_backup_is_relied_on_where_it_is_as_good_as_the_single() -> None:
    confidence = np.repeat([0.55, 0.75, 0.95], 1000)
    single = np.ones(3000, bool)
    right = single.copy()
    right[:200] = False  # of those at 0.55
    right[1000:1005] = False  # of those at 0.75: half a point there, a quarter of one from 0.7 up
    assert confident_from(confidence, right, single) == 0.76
    assert confident_from(confidence, single, single) == 0.0
    assert confident_from(confidence, ~single, single) == 1.0
    single[:200] = single[1000:1005] = False  # the single is no better
    assert confident_from(confidence, right, single) == 0.0
    table = {row.threshold: row for row in reliances(confidence, right, single)}
    assert table[0.0] == (0.0, 1.0, pytest.approx(2795 / 3000), pytest.approx(2795 / 3000))
    assert table[0.8].coverage == pytest.approx(1 / 3)
    assert table[0.98] == (0.98, 0.0, None, None)


@pytest.fixture(scope="module")
def calibrated(tiny: Any, patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> list[LoadedModel]:
    """Copies of the tiny models, calibrated."""
    folder = shutil.copytree(tiny.single.path.parent, tmp_path_factory.mktemp("calibrated") / "models")
    models = [load_model(folder / model.path.name) for model in (tiny.single, tiny.collage)]
    calibrate(models[0], models[1:], dataset=str(patterns))
    return [load_model(model.path) for model in models]


def test_cards_get_what_was_fitted_on_validation_images(calibrated: list[LoadedModel], patterns: Path) -> None:
    single, collage = (model.card for model in calibrated)
    assert single.calibration is not None
    assert collage.calibration is not None
    assert single.calibration.confident is None
    assert collage.calibration.confident is not None
    for model in calibrated:
        found = model.card.calibration
        assert found is not None
        assert (found.dataset, found.split.images, found.split.seed, found.bins) == ("patterns", 24, 0, BINS)
        images = load_validation(model, found.split, str(patterns))
        assert len(images) == 24
        logits = validation_logits(model, images, lambda share: None)
        assert found.temperature == pytest.approx(fit_temperature(logits, images.labels), rel=1e-3)
        right = logits.argmax(1) == images.labels
        assert found.ece_after == pytest.approx(
            calibration_error(confidences(logits, found.temperature), right), abs=1e-5
        )


def test_confidence_is_made_at_the_temperature_and_scores_are_not(calibrated: list[LoadedModel]) -> None:
    for model in calibrated:
        code = make_code(model.card)
        columns = np.random.default_rng(0).normal(0, 3, (code.capacity, 3 + model.card.unknown)).astype(np.float32)
        columns[:, 3:] = -9
        answers = code.decode(columns, range(code.capacity), {})
        expected = confidences(columns, model.card.temperature)
        assert model.card.temperature != 1
        assert [answer.confidence for answer in answers.values()] == pytest.approx(expected.tolist(), rel=1e-5)
        for tile, answer in answers.items():
            assert answer.scores.tolist() == columns[tile, :3].tolist()


def test_an_evaluation_counts_calibrated_confidence(
    calibrated: list[LoadedModel], patterns: Path, tmp_path: Path
) -> None:
    summary = assess(calibrated[0], calibrated[1:], tmp_path, dataset=str(patterns), update_cards=True)
    for model in calibrated:
        name = model.card.name
        labels, answers = read_outcomes(tmp_path / f"outcomes-{name}.csv.gz")
        assert summary["models"][name]["ece"] == pytest.approx(answers.calibration_error(labels), abs=0.01)
        card = load_model(model.path).card
        assert card.accuracy is not None
        assert card.accuracy.ece == summary["models"][name]["ece"]
        assert card.calibration == model.card.calibration


def test_a_parity_is_calibrated_on_what_it_rebuilds(
    calibrated: list[LoadedModel], patterns: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(calibrated[0].path.parent, tmp_path / "models")
    single = load_model(folder / calibrated[0].path.name)
    facts = {"name": "tiny-parity", "role": "parity", "k": 2, "encoder": "sum", "file": "tiny-parity.onnx"}
    facts |= {"single_sha256": single.card.sha256, "calibration": None}
    card = ModelCard.model_validate(
        single.card.model_dump() | facts | {"calibration": None, "file": "tiny-parity.onnx"}
    )
    shutil.copy(single.path, folder / "tiny-parity.onnx")
    (folder / "tiny-parity.json").write_text(card.model_dump_json())
    parity = load_model(folder / "tiny-parity.json")
    found = calibrate(single, [parity], dataset=str(patterns))["tiny-parity"]
    images = load_validation(parity, found.split, str(patterns))
    logits = read_joint(parity, single, images, score_images(single, images))
    assert logits.shape == (24, 3)
    assert logits.any(1).all()  # every image was rebuilt
    assert found.temperature == pytest.approx(fit_temperature(logits, images.labels), rel=1e-3)
    assert load_model(parity.path).card.calibration == found


def test_models_that_kept_different_images_are_not_compared(calibrated: list[LoadedModel], patterns: Path) -> None:
    from dataclasses import replace

    single, collage = calibrated
    assert collage.card.split is not None
    other = collage.card.model_copy(update={"split": collage.card.split.model_copy(update={"seed": 1})})
    with pytest.raises(ModelError, match="kept other images out"):
        calibrate(single, [replace(collage, card=other)], dataset=str(patterns))
    silent = single.card.model_copy(update={"split": None})
    with pytest.raises(ModelError, match="does not say which images its training kept out"):
        calibrate(replace(single, card=silent), dataset=str(patterns))
