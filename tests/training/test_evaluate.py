"""Accuracies are exact on models whose every answer is known, and consistent on trained ones."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.data import PixelSet, load_pixels, open_dataset
from collage.exceptions import ModelError
from collage.training import (
    UNKNOWN,
    Answers,
    assess,
    classify_images,
    confusion,
    evaluate_collage,
    evaluate_joint,
    latency_ratio,
    read_outcomes,
    score_images,
)
from collage.zoo import LoadedModel, file_sha256, load_model

pytestmark = pytest.mark.train

SIDE, GREYS = 4, np.array([0.1, 0.5, 0.9], np.float32)


def greys(count: int) -> PixelSet:
    """Plain images of three greys, labelled by them."""
    labels = np.arange(count) % 3
    pixels = np.broadcast_to((GREYS[labels] * 255).astype(np.uint8)[:, None, None, None], (count, SIDE, SIDE, 1))
    return PixelSet(np.ascontiguousarray(pixels), labels.astype(np.int64), ["dark", "middle", "light"])


@pytest.fixture
def make_reader(tmp_path: Path) -> Callable[..., LoadedModel]:
    """A model that reads the grey of every tile: always right, but for the tiles that `bias` (tiles, 4) spoils."""

    def make(name: str, grid: int | None, bias: NDArray[np.float32] | None = None, **card: Any) -> LoadedModel:
        tiles = (grid or 1) ** 2
        columns, side = 4 if grid else 3, SIDE * (grid or 1)
        weights = np.append(2 * GREYS, 0)[:columns].astype(np.float32)  # nearest grey: the largest of 2 a x - a a
        offsets = np.tile(np.append(-(GREYS**2), -9)[:columns], (tiles, 1)).astype(np.float32)
        if bias is not None:
            offsets = offsets + bias
        shape = [0, -1, 1] if grid else [0, 1]
        values = {"weights": weights, "offsets": offsets if grid else offsets[0], "sharp": np.array(50, np.float32)}
        nodes = [
            helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[SIDE] * 2, strides=[SIDE] * 2),
            helper.make_node("Reshape", ["means", "shape"], ["greys"]),
            helper.make_node("Mul", ["greys", "weights"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offsets"], ["moved"]),
            helper.make_node("Mul", ["moved", "sharp"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", tiles, 4] if grid else ["n", 3])],
            [numpy_helper.from_array(value, key) for key, value in values.items()]
            + [numpy_helper.from_array(np.array(shape, np.int64), "shape")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / f"{name}.onnx")
        facts = {
            "name": name,
            "role": "collage" if grid else "single",
            "file": f"{name}.onnx",
            "sha256": file_sha256(tmp_path / f"{name}.onnx"),
            "preprocessing": {"size": SIDE, "channels": 1, "mean": [0.0], "std": [1.0]},
            "classes": ["dark", "middle", "light"],
            "grid": grid,
            "unknown": grid is not None,
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(facts | card))
        return load_model(tmp_path / f"{name}.json")

    return make


def spoilt(tile: int, column: int) -> NDArray[np.float32]:
    """Tile `tile` of 2 x 2 always answers `column`; 3 is unknown."""
    bias = np.zeros((4, 4), np.float32)
    bias[tile, column] = 100
    return bias


# 24 fills the collages; 25 and 3 do not.
@pytest.mark.parametrize("count", [24, 25, 3])
def test_an_isolated_collage_is_answered_once_and_checked(make_reader: Callable[..., LoadedModel], count: int) -> None:
    bias = np.zeros((4, 4), np.float32)
    bias[:, 3] = [100, 100, 100, 100]  # says unknown everywhere: a wrong answer that is the same at every tile
    for name, wrong, accuracy in (("right", None, 1.0), ("wrong", bias, 0.0)):
        model = make_reader(name, 2, wrong, single_sha256="0" * 64, isolated=True)
        found = evaluate_collage(model, greys(count))
        assert found.per_position == found.per_fill == [accuracy] * 4
        assert found.accuracy == accuracy == found.answers.accuracy(greys(count).labels)


@pytest.mark.parametrize("count", [24, 25, 3])
def test_a_card_that_says_isolated_of_a_net_that_is_not_is_refused(
    make_reader: Callable[..., LoadedModel], count: int
) -> None:
    model = make_reader("reader", 2, spoilt(2, 3), single_sha256="0" * 64, isolated=True)
    with pytest.raises(ModelError, match="reader: its card says isolated"):
        evaluate_collage(model, greys(count))


@pytest.mark.parametrize("count", [24, 25, 3])
def test_a_tile_that_is_always_unknown_costs_just_its_share(
    make_reader: Callable[..., LoadedModel], count: int
) -> None:
    model = make_reader("reader", 2, spoilt(2, 3), single_sha256="0" * 64)
    shares: list[float] = []
    found = evaluate_collage(model, greys(count), progress=shares.append)
    assert found.per_position == [1.0, 1.0, 0.0, 1.0]
    assert found.accuracy == 0.75
    known = found.answers.index != UNKNOWN
    assert (found.answers.index[known] == greys(count).labels[known]).all()
    assert (found.answers.confidence[known] > 0.9).all()
    assert (found.answers.confidence[~known] == 0).all()
    if count == 24:
        assert found.per_fill == [1.0, 1.0, pytest.approx(2 / 3), 0.75]
        assert 0 < (~known).sum() < 24
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_a_wrong_tile_is_wrong_for_the_other_classes_only(make_reader: Callable[..., LoadedModel]) -> None:
    images = greys(240)
    found = evaluate_collage(make_reader("reader", 2, spoilt(0, 1), single_sha256="0" * 64), images)
    assert found.per_position == [pytest.approx(1 / 3), 1.0, 1.0, 1.0]
    table = confusion(found.answers, images.labels, 3)
    assert (table.sum(1) == 80).all()
    assert table[:, 3].sum() == 0
    assert (table[[0, 2], [1, 1]] > 0).all()
    assert np.trace(table) == (found.answers.index == images.labels).sum()


def test_only_a_collage_has_tiles(make_reader: Callable[..., LoadedModel]) -> None:
    single = make_reader("single", None)
    assert (classify_images(single, greys(10)).index == greys(10).labels).all()
    with pytest.raises(ModelError, match="is no collage"):
        evaluate_collage(single, greys(4))


def test_calibration_error_by_hand() -> None:
    labels = np.zeros(5, np.int64)
    answers = Answers(np.array([0, 0, 1, 1, UNKNOWN]), np.array([0.9, 0.9, 0.9, 0.3, 0.0], np.float32))
    # Bin of 0.9: sure 2.7, right 2; bin of 0.3: sure 0.3, right 0; the unknown one promises nothing.
    assert answers.calibration_error(labels, bins=10) == pytest.approx((0.7 + 0.3) / 4, abs=1e-6)
    assert Answers(labels, np.ones(5, np.float32)).calibration_error(labels) == 0
    assert Answers(np.full(5, UNKNOWN), np.zeros(5, np.float32)).calibration_error(labels) == 0


def test_outcomes_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.csv.gz"
    for content in (b"no gzip", gzip.compress(b"image,label\n0,1\n"), gzip.compress(b"x" * 999)[:-20]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="delete it and evaluate again"):
            read_outcomes(path)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("count", [24, 25])
def test_an_exact_parity_gives_back_whatever_is_missing(
    make_reader: Callable[..., LoadedModel], k: int, count: int
) -> None:
    single = make_reader("single", None)
    images = greys(count)
    scores = score_images(single, images)
    facts = {"role": "parity", "k": k, "encoder": "sum", "single_sha256": single.card.sha256}
    exact = (1 - k) * GREYS**2  # the single adds -a a to an image's score, and k of them are summed
    parity = make_reader("parity", None, exact, **facts)
    shares: list[float] = []
    found = evaluate_joint(parity, images, single, scores, progress=shares.append)
    assert found.per_position == [1.0] * k
    assert (found.answers.index == images.labels).all()
    assert (found.answers.confidence > 0.9).all()
    assert shares == pytest.approx([(turn + 1) / k for turn in range(k)])
    always_middle = make_reader("middle", None, exact + np.array([0, 100, 0], np.float32), **facts)
    wrong = evaluate_joint(always_middle, images, single, scores)
    assert wrong.per_position == pytest.approx([np.mean(images.labels == 1)] * k)
    unknown = make_reader("nan", None, exact + np.array([np.nan, 0, 0], np.float32), **facts)
    nothing = evaluate_joint(unknown, images, single, scores)
    assert (nothing.answers.index == UNKNOWN).all()
    assert nothing.accuracy == 0


def test_a_parity_is_assessed_beside_its_single(
    make_reader: Callable[..., LoadedModel], patterns: Path, tmp_path: Path
) -> None:
    classes = {"classes": ["across", "down", "middle"]}
    single = make_reader("single", None, **classes)
    facts = classes | {"role": "parity", "k": 2, "encoder": "sum", "single_sha256": single.card.sha256}
    parity = make_reader("parity", None, -(GREYS**2), **facts)
    summary = assess(single, [parity], tmp_path / "out", dataset=str(patterns))
    row = summary["models"]["parity"]
    assert (row["code"], row["n"], row["grid"], row["per_fill"]) == ("parity-sum", 2, None, None)
    assert row["accuracy"] == pytest.approx(np.mean(row["per_position"]), abs=1e-5)
    assert row["agreement"] == 1.0  # exact, so as right or wrong as the single
    assert row["accuracy"] == summary["models"]["single"]["accuracy"]
    assert min(row["microseconds"].values()) > 0


def test_a_model_takes_as_long_as_itself(make_reader: Callable[..., LoadedModel]) -> None:
    single = make_reader("single", None)
    time = latency_ratio(single, single, pairs=50)
    assert 0 < time.low <= time.ratio <= time.high
    assert min(time.seconds, time.base_seconds) > 0


def test_an_evaluation_agrees_with_itself(tiny: Any, patterns: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    summary = assess(
        tiny.single,
        [tiny.collage],
        tmp_path,
        dataset=str(patterns),
        told=lambda model, share: heard.append((model, share)),
    )
    assert heard[0] == ("tiny-single", 1.0)
    assert heard[-1] == ("tiny-collage", 1.0)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    single, collage = summary["models"]["tiny-single"], summary["models"]["tiny-collage"]
    assert single["accuracy"] > 0.9  # they have learnt, or the rest would say little
    assert collage["accuracy"] > 0.8
    assert collage["accuracy"] == pytest.approx(np.mean(collage["per_position"]), abs=1e-5)
    assert collage["points_below_single"] == pytest.approx(100 * (single["accuracy"] - collage["accuracy"]))
    assert (len(collage["per_position"]), len(collage["per_fill"])) == (4, 4)

    images = load_pixels(open_dataset(str(patterns)), "test", tiny.single.card.preprocessing)
    outcomes = {name: read_outcomes(tmp_path / f"outcomes-{name}.csv.gz") for name in summary["models"]}
    assert all((labels == images.labels).all() for labels, _ in outcomes.values())
    alone, theirs = (answers for _, answers in outcomes.values())
    assert alone.accuracy(images.labels) == pytest.approx(single["accuracy"], abs=1e-5)
    assert np.mean(alone.index == theirs.index) == pytest.approx(collage["agreement"], abs=1e-5)
    assert ((theirs.confidence >= 0) & (theirs.confidence <= 1)).all()
    assert theirs.calibration_error(images.labels) == pytest.approx(collage["ece"], abs=1e-4)

    table = _rows(tmp_path / "confusion-tiny-collage.csv")
    counts = np.array([[int(row[name]) for name in (*images.classes, "unknown")] for row in table])
    assert counts.sum(1).tolist() == [10, 10, 10]
    assert np.trace(counts) == (theirs.index == images.labels).sum()
    assert counts[:, 3].sum() == (theirs.index == UNKNOWN).sum()
    for picture in ("confusion-tiny-single", "confusion-tiny-collage", "positions-tiny-collage"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_models_that_do_not_belong_together_are_refused(
    tiny: Any, make_reader: Callable[..., LoadedModel], patterns: Path, tmp_path: Path
) -> None:
    stranger = make_reader("stranger", 2, single_sha256="0" * 64)
    with pytest.raises(ModelError, match="made for another single"):
        assess(tiny.single, [stranger], tmp_path / "out", dataset=str(patterns))
    with pytest.raises(ModelError, match="other classes than patterns"):
        assess(make_reader("reader", None), [], tmp_path / "out", dataset=str(patterns))
    assert not (tmp_path / "out").exists()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
