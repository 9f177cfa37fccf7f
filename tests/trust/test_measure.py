"""One command measures all of it on the shipped models; its numbers fit each other and what is known of the models."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.exceptions import DataMissing, ModelError
from collage.trust import Attack, auroc, measure_trust, worst_row
from collage.trust._groups import burst
from collage.zoo import load_model

pytestmark = pytest.mark.train


def test_auroc_by_hand() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3])) == 1.0
    assert auroc(np.array([0.1]), np.array([0.9, 0.8])) == 0.0
    assert auroc(np.array([0.5, 0.5]), np.array([0.5])) == 0.5
    # Pairs won: 0.9 > 0.6, 0.2; 0.4 > 0.2; of 4.
    assert auroc(np.array([0.9, 0.4]), np.array([0.6, 0.2])) == 0.75
    assert auroc(np.array([0.9, 0.6]), np.array([0.6, 0.2])) == 0.875  # a tie
    with pytest.raises(ValueError, match="both kinds"):
        auroc(np.array([]), np.array([0.5]))


def test_a_burst_is_one_image_that_drifts() -> None:
    image = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16, 1)
    frames = burst(image, 9, np.random.default_rng(0))
    assert len(frames) == 9
    assert len({frame.tobytes() for frame in frames}) > 3
    plain = frames[0][:, ::-1] if (frames[0] == image[:, ::-1]).all() else frames[0]
    assert (plain == image).all()
    # Within two pixels each way, so that the middle is somewhere in the original.
    original = frames[0]
    for frame in frames:
        assert any(
            (frame[4:12, 4:12] == original[4 + dy : 12 + dy, 4 + dx : 12 + dx]).all()
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        )


def test_the_worst_kind_is_the_one_that_costs_most_on_the_same_images() -> None:
    rows = [
        {"kind": kind, "answers": 9, "accuracy": a, "unknown": 0.0, "ece": 0.0, "same_images": b}
        for kind, a, b in (("easy", 0.9, 0.9), ("hard", 0.7, 0.8), ("hard images", 0.6, 0.6))
    ]
    assert worst_row(rows)["kind"] == "hard"  # type: ignore[arg-type]


@pytest.mark.usefixtures("little_fashion")
def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    models = [load_model(f"fashion-mnist-{name}") for name in ("single", "collage-3x3", "collage-3x3-cheap")]
    heard: list[tuple[str, str, float]] = []
    out = tmp_path / "out"
    with pytest.raises(DataMissing):
        measure_trust(models[0], [], out, strangers=str(tmp_path / "none"))
    _strangers(tmp_path / "others")
    summary = measure_trust(
        models[0],
        models[1:],
        out,
        strangers=str(tmp_path / "others"),
        limit=100,
        attack=Attack(tiles=4, steps=6, restarts=2),
        told=lambda *news: heard.append(news),
    )
    assert list(dict.fromkeys(name for name, _, _ in heard)) == [model.card.name for model in models]
    assert heard[-1][2] == 1.0
    count = 100
    single, collage, cheap = (summary["models"][model.card.name] for model in models)
    for model, found in zip(models, (single, collage, cheap), strict=True):
        assert found["test_images"] == count
        assert found["calibration"]["temperature"] == model.card.temperature
        assert sum(found["calibration"]["reliability_after"][2]) <= count
        assert 0.3 < found["strangers"][0]["auroc"] <= 1.0
        nothing = {row["kind"]: row for row in found["nothing"]}
        assert nothing["JPEG cut in half"]["refused"] == 1.0
        assert all(0 <= row["confident_wrong"] <= row["confident"] <= row["classed"] <= 1 for row in nothing.values())
    assert {row["kind"]: row["classed"] for row in collage["nothing"]}["blank"] == 0.0
    assert single["reliance"][0]["coverage"] == 1.0
    assert collage["reliance"][0]["single_accuracy"] == single["reliance"][0]["accuracy"]
    assert "groups" not in single
    assert "groups" not in cheap

    groups = {row["kind"]: row for row in collage["groups"]}
    kinds = ["one class", "one image repeated", "a burst"]
    assert set(groups) == {
        "random",
        *kinds,
        *(f"filled {n}" for n in range(1, 9)),
        *(f"position {n}" for n in range(9)),
    }
    positions = [groups[f"position {tile}"]["accuracy"] for tile in range(9)]
    assert groups["random"]["accuracy"] == pytest.approx(np.mean(positions), abs=1e-6)
    assert groups["random"]["accuracy"] == pytest.approx(groups["random"]["same_images"], abs=1e-9)
    assert groups["random"]["accuracy"] > 0.7
    assert collage["worst_group"] in collage["groups"]
    neighbours = {row["neighbours"]: row for row in collage["neighbours"]}
    assert all(row["flips"] == row["largest_change"] == 0 for row in neighbours.values())  # its tiles are isolated

    assert json.loads((out / "summary.json").read_text())["models"].keys() == summary["models"].keys()
    for table, rows in (("groups", 21), ("neighbours", 7), ("nothing", 24), ("strangers", 3), ("calibration", 3)):
        with (out / f"{table}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == rows
    pictures = [*(f"reliability-{model.card.name}" for model in models), "collages"]
    assert all((out / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_only_backups_of_the_single_are_measured(tmp_path: Path) -> None:
    from dataclasses import replace

    single, collage = load_model("fashion-mnist-single"), load_model("fashion-mnist-collage-3x3")
    other = replace(collage, card=collage.card.model_copy(update={"single_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="made for another single"):
        measure_trust(single, [other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _strangers(folder: Path) -> None:
    """Photographs they are not, but nothing that is worn."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("rough", "smooth"):
        (folder / "test" / name).mkdir(parents=True)
        (folder / "train" / name).mkdir(parents=True)
        for number in range(20):
            cells = rng.integers(256, size=(7, 7, 3), dtype=np.uint8)
            method = Image.Resampling.NEAREST if name == "rough" else Image.Resampling.BICUBIC
            Image.fromarray(cells).resize((40, 40), method).save(folder / "test" / name / f"{number:02d}.png")
