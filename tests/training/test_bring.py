"""An ONNX file from anywhere becomes a single, or is refused in one line that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.exceptions import CollageError, ModelError, SettingsError
from collage.nets import ResidualNetSettings, TileNetSettings, build_net, count_macs
from collage.training import SingleFacts, bring_single, count_graph, read_classes, read_facts
from collage.training._choose import choose_nets
from collage.training._export import write_onnx
from collage.zoo import load_model, open_session, run_batch

from .foreign import convolutions

pytestmark = pytest.mark.train

PLAIN = SingleFacts(mean=(0.0,), std=(1.0,))


def test_a_file_gets_the_card_that_serving_reads(tmp_path: Path) -> None:
    path = tmp_path / "My Model.v2.onnx"
    convolutions(path, size=24, classes=3)
    facts = PLAIN.changed(classes=("x", "y", "z"), resize=30, mean=(0.1, 0.2, 0.3))
    model = bring_single(path, facts, tmp_path / "unused")
    assert model == load_model(path)
    card = model.card
    assert (card.name, card.classes, card.output) == ("my-model.v2", ["x", "y", "z"], "logits")
    assert (card.preprocessing.size, card.preprocessing.resize) == (24, 30)
    assert (card.preprocessing.mean, card.preprocessing.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert card.cost is not None
    assert card.cost.macs == 6 * 6 * 8 * 75 + 3 * 3 * 16 * 72 + 16 * 3
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("batch", [1, "n"])
def test_channels_last_is_turned_around(tmp_path: Path, batch: Any) -> None:
    for last in (False, True):
        convolutions(tmp_path / f"{last}.onnx", size=24, classes=3, batch=batch, last=last)
    model = bring_single(tmp_path / "True.onnx", PLAIN, tmp_path / "out")
    assert model.path == tmp_path / "out/true-adapted.onnx"
    assert model.card.name == "true"
    images = np.random.default_rng(1).normal(size=(3, 3, 24, 24)).astype(np.float32)
    expected = run_batch(open_session(tmp_path / "False.onnx"), images)
    np.testing.assert_allclose(run_batch(open_session(model.path), images), expected, rtol=1e-5, atol=1e-5)


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    convolutions(tmp_path / "m.onnx", size=24, classes=101)
    assert bring_single(tmp_path / "m.onnx", PLAIN, tmp_path).card.classes[7] == "class-007"


@pytest.mark.parametrize(
    ("changes", "facts", "said"),
    [
        ({}, {"size": 32}, r"size: 32, but .*m.onnx takes images of 24 x 24"),
        ({}, {"classes": ("a", "b")}, "gives 3 classes, not the 2 names"),
        ({}, {"mean": None}, "say how pixels, scaled to 0..1, are normalised"),
        ({}, {"mean": (0.0, 0.0)}, "mean and std need 3 values each"),
        ({}, {"resize": 20}, r"resize \(20\) must be at least size \(24\)"),
        ({"size": "s"}, {}, "takes images of any size: say which"),
        ({"size": "s"}, {"size": 9000}, "less than or equal to 4096"),
        ({"channels": 4}, {}, "1 or 3 channels are needed"),
        ({"batch": 8}, {}, "takes 8 images a call"),
        ({"classes": 1}, {}, "2 classes or more"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], facts: dict[str, Any], said: str
) -> None:
    path = tmp_path / "m.onnx"
    convolutions(path, **({"size": 24, "classes": 3} | changes))
    with pytest.raises(CollageError, match=said) as caught:
        bring_single(path, PLAIN.model_copy(update=facts), tmp_path)
    assert "\n" not in str(caught.value)
    assert not path.with_suffix(".json").exists()


def _save(path: Path, inputs: list[Any], outputs: list[Any], nodes: list[Any]) -> None:
    graph = helper.make_graph(nodes, "odd", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def _value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def test_other_graphs_are_refused(tmp_path: Path) -> None:
    path, identity = tmp_path / "m.onnx", helper.make_node("Identity", ["x"], ["y"])
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot load it"):
        bring_single(path, PLAIN, tmp_path)
    _save(path, [_value("x", ["n", 12])], [_value("y", ["n", 12])], [identity])
    with pytest.raises(ModelError, match=r"\(N, C, H, W\) is needed"):
        bring_single(path, PLAIN, tmp_path)
    half = TensorProto.FLOAT16
    _save(path, [_value("x", ["n", 3, 8, 8], half)], [_value("y", ["n", 3, 8, 8], half)], [identity])
    with pytest.raises(ModelError, match="float32"):
        bring_single(path, PLAIN, tmp_path)
    _save(path, [_value("x", ["n", 3, 8, 8])], [_value("y", ["n", 3, 8, 8])], [identity])
    with pytest.raises(ModelError, match=r"no output is float32 \(N, classes\)"):
        bring_single(path, PLAIN, tmp_path)
    add = helper.make_node("Add", ["x", "z"], ["y"])
    _save(path, [_value("x", ["n", 3, 8, 8]), _value("z", ["n", 3, 8, 8])], [_value("y", ["n", 3, 8, 8])], [add])
    with pytest.raises(ModelError, match=r"has 2 inputs \(x, z\)"):
        bring_single(path, PLAIN, tmp_path)


def test_facts_are_read_from_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('size = 224\nresize = 256\nmean = [0.5]\nstd = [0.25]\noutput = "probabilities"\n')
    facts = read_facts(path).changed(size=None, resize=300)
    assert (facts.size, facts.resize, facts.mean, facts.output) == (224, 300, (0.5,), "probabilities")
    path.write_text("sise = 224\n")
    with pytest.raises(SettingsError, match=r"m.toml: sise"):
        read_facts(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_facts(tmp_path / "none.toml")
    names = tmp_path / "names.txt"
    names.write_text("cat\n\n dog \n")
    assert read_classes(names) == ("cat", "dog")
    names = names.with_suffix(".json")
    names.write_text('["cat", "dog"]')
    assert read_classes(names) == ("cat", "dog")


@pytest.mark.parametrize("side", [24, 33])
def test_a_graph_costs_what_its_net_does(tmp_path: Path, side: int) -> None:
    settings = TileNetSettings(backbone=ResidualNetSettings(stem=4, widths=(8, 12), blocks=(1, 2)))
    net = build_net(settings, channels=3, classes=5, grid=2).eval()
    shape = (1, 3, 2 * side, 2 * side)
    write_onnx(net, tmp_path / "net.onnx", shape, input_name="collage")
    assert count_graph(tmp_path / "net.onnx", shape)[0] == count_macs(net, shape)


def test_what_has_no_products_costs_nothing_that_can_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _save(path, [_value("x", ["n", 3, 8, 8])], [_value("y", ["n", 192])], [helper.make_node("Flatten", ["x"], ["y"])])
    assert count_graph(path, (1, 3, 8, 8)) == (None, 0)


@pytest.mark.parametrize(
    ("budget", "size", "tile"),
    [(31e6, 32, 32), (200e6, 224, 64), (0.2e6, 224, 16), (4e6, 50, 50)],
)
def test_a_collage_costs_no_more_than_it_may(budget: float, size: int, tile: int) -> None:
    choices = choose_nets(int(budget), size=size, grid=3, channels=3, classes=10)
    assert {choice.tile for choice in choices} == {tile}
    costs = [choice.macs(grid=3, channels=3, classes=10) for choice in (choices[0], choices[-1])]
    assert costs[1] <= costs[0] <= budget
    if tile > 16:
        assert costs[0] > 0.5 * budget  # and makes use of it


def test_where_nothing_is_cheap_enough_the_cheapest_is_taken() -> None:
    (choice,) = choose_nets(1000, size=224, grid=3, channels=3, classes=10)
    assert choice.tile == 16
    (choice,) = choose_nets(1000, size=224, grid=3, channels=3, classes=10, tile=48)
    assert choice.tile == 48
