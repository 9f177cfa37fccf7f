"""One table of all models; what has not changed is not measured again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.exceptions import ModelError
from collage.training import measure_accuracy
from collage.zoo import LoadedModel, list_models, load_model

pytestmark = pytest.mark.train

FIELDS = {
    "dataset", "model", "code", "n", "grid", "a_a", "a_d", "a_d_std", "macs", "macs_ratio", "latency_ratio", "params",
    "ece", "agreement", "test_images", "seed_count", "a_d_seeds", "shipped",
}  # fmt: skip


@pytest.fixture
def zoo(tiny: Any, tmp_path: Path) -> Path:
    """A folder with the tiny single and its collage."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for model in (tiny.single, tiny.collage):
        for path in (model.path, model.path.with_suffix(".json")):
            shutil.copy(path, folder)
    return folder


def test_every_model_has_a_row_and_is_measured_once(zoo: Path, patterns: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []

    def measure(**options: Any) -> list[Any]:
        heard.clear()
        return list(measure_accuracy(
            list_models(zoo), tmp_path, dataset=str(patterns), told=lambda *now: heard.append(now), **options
        ))  # fmt: skip

    collage, single = sorted(measure(), key=lambda row: str(row["code"]))
    assert json.loads((tmp_path / "accuracy.json").read_text()) == [single, collage]
    assert set(single) == set(collage) == FIELDS
    assert (single["code"], single["n"], single["a_d"], single["macs_ratio"]) == ("single", 1, None, 1.0)
    assert (collage["code"], collage["n"], collage["grid"]) == ("collage", 4, 2)
    assert collage["a_a"] == single["a_a"]
    assert collage["a_d"] > 0.8
    assert (collage["a_d_std"], collage["seed_count"]) == (None, 1)
    assert collage["macs_ratio"] == pytest.approx(collage["macs"] / single["macs"], abs=1e-4)
    for picture in ("frontier", "by-n"):
        assert (tmp_path / f"accuracy/tiny-single/{picture}.png").read_bytes().startswith(b"\x89PNG")

    partial = [share for _, share in heard if share < 1]
    assert partial
    assert measure() == [single, collage]  # the measured time too: nothing was measured again
    assert heard == [("tiny-single", 1.0), ("tiny-collage", 1.0)]
    measure(again=True)
    assert [share for _, share in heard if share < 1] == partial
    measure(limit=12)
    assert len(heard) > 2


def test_only_what_has_changed_is_measured(zoo: Path, patterns: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    first = measure_accuracy(list_models(zoo), tmp_path, dataset=str(patterns))
    outcomes = tmp_path / "accuracy/tiny-single/outcomes-tiny-collage.csv.gz"
    before = outcomes.read_bytes()
    outcomes.unlink()  # as if it had been interrupted before the collage was done
    again = measure_accuracy(
        list_models(zoo), tmp_path, dataset=str(patterns), told=lambda name, share: heard.append(name)
    )
    assert outcomes.read_bytes() == before
    assert heard.count("tiny-single") == 1
    assert heard.count("tiny-collage") > 1
    assert [row["agreement"] for row in again] == [row["agreement"] for row in first]


def test_other_seeds_give_the_spread(zoo: Path, patterns: Path, tmp_path: Path) -> None:
    seed = other_seed(zoo, tmp_path / "seed-1", scale=1.5)
    options: dict[str, Any] = {"dataset": str(patterns)}
    rows = measure_accuracy(list_models(zoo), tmp_path, seeds=[seed], **options)
    row = next(row for row in rows if row["code"] == "collage")
    assert row["seed_count"] == len(row["a_d_seeds"]) == 2
    assert row["a_d"] == row["a_d_seeds"][0]
    assert row["a_d_std"] == pytest.approx(np.std(row["a_d_seeds"], ddof=1), abs=1e-5)
    assert measure_accuracy(list_models(zoo), tmp_path, **options) == rows  # remembered, and not needed any more
    shipped = next(model for model in list_models(zoo) if model.card.name == "tiny-collage")
    same = measure_accuracy(list_models(zoo), tmp_path, seeds=[shipped], **options)
    assert same == rows  # the shipped one is no further seed of itself
    with pytest.raises(ModelError, match="made for the same single"):
        measure_accuracy([m for m in list_models(zoo) if m.card.name == "tiny-single"], tmp_path, seeds=[seed])


def test_rows_of_what_is_not_shipped_stay(zoo: Path, patterns: Path, tmp_path: Path) -> None:
    rival = other_seed(zoo, tmp_path / "rivals", scale=1.5, name="tiny-rival")
    options: dict[str, Any] = {"dataset": str(patterns)}
    rows = measure_accuracy(list_models(zoo), tmp_path, beside=[rival], **options)
    assert [(row["model"], row["shipped"]) for row in rows] == [
        ("tiny-single", True), ("tiny-collage", True), ("tiny-rival", False),
    ]  # fmt: skip
    assert measure_accuracy(list_models(zoo), tmp_path, **options) == rows  # remembered, and not needed any more
    shutil.copy(rival.path, zoo)
    shutil.copy(rival.path.with_suffix(".json"), zoo)
    now = measure_accuracy(list_models(zoo), tmp_path, beside=[rival], **options)
    assert [row | {"shipped": False} for row in now[2:]] == rows[2:]
    assert [row["shipped"] for row in now] == [True] * 3
    (zoo / "tiny-rival.json").unlink()
    assert measure_accuracy(list_models(zoo), tmp_path, **options) == rows[:2]  # what was shipped and is gone, is gone


def test_without_a_single_there_is_nothing_to_compare_with(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no single"):
        measure_accuracy([tiny.collage], tmp_path)


def other_seed(zoo: Path, folder: Path, scale: float, name: str = "tiny-collage") -> LoadedModel:
    """The tiny collage with its head disturbed, as another training would have it."""
    import onnx
    from onnx import numpy_helper

    from collage.zoo import file_sha256

    folder.mkdir()
    model = onnx.load(zoo / "tiny-collage.onnx")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2:
            noise = np.random.default_rng(0).normal(0, scale * values.std(), values.shape)
            tensor.CopyFrom(numpy_helper.from_array((values + noise).astype(np.float32), tensor.name))
    onnx.save(model, folder / f"{name}.onnx")
    card = json.loads((zoo / "tiny-collage.json").read_text())
    card |= {"name": name, "file": f"{name}.onnx", "sha256": file_sha256(folder / f"{name}.onnx")}
    (folder / f"{name}.json").write_text(json.dumps(card))
    return load_model(folder / f"{name}.json")
