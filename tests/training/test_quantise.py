"""A model in fewer bits answers nearly as before, says what it is, and stays bound to its single."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.data import load_pixels, open_dataset  # noqa: E402
from collage.exceptions import ModelError  # noqa: E402
from collage.training import (  # noqa: E402
    classify_images,
    evaluate_collage,
    export_model,
    load_net,
    net_from_model,
    quantise_model,
)
from collage.zoo import LoadedModel, check_bound, load_model, open_session  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture
def int8(tiny: Any, patterns: Path, tmp_path: Path) -> LoadedModel:
    """The tiny collage in INT8."""
    return quantise_model(tiny.collage, tmp_path, images=60, dataset=str(patterns))


def test_int8_is_a_model_of_its_own_for_the_same_single(tiny: Any, int8: LoadedModel) -> None:
    check_bound(tiny.single, int8)
    card, before = int8.card, tiny.collage.card
    assert (card.name, card.grid, card.unknown) == ("tiny-collage-int8", 2, True)
    assert card.notes == "INT8; ranges from 60 training images."
    assert card.accuracy is None  # measured anew, or not at all
    assert card.cost is not None
    assert card.cost.macs == before.cost.macs
    assert card.cost.latency_ratio is None
    assert tiny.collage.card == before  # the model it was made from stays as it is
    graph = onnx.load(int8.path).graph
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims]
    assert len([tensor for tensor in weights if len(tensor.dims) == 4]) >= 4  # every convolution's
    scales = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith("weight_scale")}
    assert any(len(tensor.dims) == 1 and tensor.dims[0] > 1 for tensor in scales.values())  # one an output channel


def test_int8_answers_nearly_as_before(tiny: Any, int8: LoadedModel, patterns: Path) -> None:
    images = load_pixels(open_dataset(str(patterns)), "test", tiny.collage.card.preprocessing)
    full, small = evaluate_collage(tiny.collage, images), evaluate_collage(int8, images)
    assert full.accuracy > 0.8
    assert small.accuracy == pytest.approx(full.accuracy, abs=0.05)
    blank = np.zeros((1, 1, 32, 32), np.float32)
    session = open_session(int8.path)
    (logits,) = session.run(None, {session.get_inputs()[0].name: blank})
    assert (logits[0].argmax(1) == 3).all()  # nothing to see


def test_a_single_and_any_dataset_can_be_quantised(tiny: Any, patterns: Path, tmp_path: Path) -> None:
    made = quantise_model(tiny.single, tmp_path, images=24, dataset=str(patterns))
    images = load_pixels(open_dataset(str(patterns)), "test", made.card.preprocessing)
    full, small = (classify_images(model, images).accuracy(images.labels) for model in (tiny.single, made))
    assert small == pytest.approx(full, abs=0.05)
    with pytest.raises(ModelError, match="made for another single"):
        check_bound(made, tiny.collage)
    with pytest.raises(ModelError, match="is quantised already"):
        quantise_model(made, tmp_path)


@pytest.mark.parametrize("role", ["single", "collage"])
def test_half_stores_less_and_answers_the_same(tiny: Any, role: str, tmp_path: Path) -> None:
    source = getattr(tiny, role)
    made = quantise_model(source, tmp_path, bits="half")
    assert made.path.stat().st_size < 0.8 * source.path.stat().st_size
    side = 32 if role == "collage" else 16
    inputs = np.random.default_rng(0).normal(size=(3, 1, side, side)).astype(np.float32)
    before, after = (
        session.run(None, {session.get_inputs()[0].name: inputs})[0]
        for session in (open_session(source.path), open_session(made.path))
    )
    assert after.dtype == np.float32
    assert 0 < np.abs(after - before).max() < 0.02
    assert np.abs(net_from_model(made)(torch.from_numpy(inputs)).detach().numpy() - after).max() < 1e-4


def test_what_half_precision_cannot_hold_stays_as_it_is(tiny: Any, tmp_path: Path) -> None:
    model = onnx.load(tiny.collage.path)
    largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    values = onnx.numpy_helper.to_array(largest).copy()
    values.flat[0] = 1e6
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    onnx.save(model, tmp_path / "large.onnx")
    from collage.training import store_half

    store_half(tmp_path / "large.onnx", tmp_path / "half.onnx")
    kept = {tensor.name: tensor for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert kept[largest.name].data_type == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in kept.values()}


def test_a_training_is_exported_at_half_precision(tiny: Any, tmp_path: Path) -> None:
    made = export_model(tiny.collage_run, tmp_path, single=tiny.single, half=True)
    assert made.card.name == "tiny-collage"
    assert made.path.stat().st_size < 0.8 * tiny.collage.path.stat().st_size
    assert load_model(made.path).card.cost == tiny.collage.card.cost
    _, net, _ = load_net(tiny.collage_run)
    again = net_from_model(made)
    inputs = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (net(inputs) - again(inputs)).abs().max() < 0.02
