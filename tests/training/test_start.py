"""A training that begins with what another one has learnt, and a single that learns from another single."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.data import load_pixels, open_dataset  # noqa: E402
from collage.exceptions import ModelError, SettingsError  # noqa: E402
from collage.training import SingleTask, export_model, run_training  # noqa: E402
from collage.training._views import draw_views  # noqa: E402
from collage.zoo import check_bound  # noqa: E402

pytestmark = pytest.mark.train


def weights(folder: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)["average"]
    return {name: value for name, value in saved.items() if "running" not in name and "num_batches" not in name}


def test_the_averaged_weights_are_taken_over(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    first = tmp_path / "first"
    shutil.copytree(tiny.single_run, first)
    # So slow that nothing is learnt in the one epoch.
    slow = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "start": str(first)}
    list(run_training(make_settings("single", train=slow), tmp_path / "second"))
    one, other = weights(first), weights(tmp_path / "second")
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)

    # What it began with is of no importance any more once it has begun.
    shutil.rmtree(first)
    assert list(run_training(make_settings("single", train=slow), tmp_path / "second")) == []


def test_what_it_cannot_begin_with_is_named(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"train.start: .*none holds no training"):
        next(run_training(make_settings("single", train={"start": str(tmp_path / "none")}), tmp_path / "run"))
    other = make_settings("cheap", train={"start": str(tiny.collage_run)})
    with pytest.raises(SettingsError, match=r"train.start: the net of .* is not this training's"):
        next(run_training(other, tmp_path / "run", single=tiny.single))


def test_a_single_may_learn_from_another(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    # No labels: all that it can know it has from its teacher.
    settings = make_settings("single", distill={"weight": 1.0, "views": 2}, train={"epochs": 8})
    done = list(run_training(settings, tmp_path, teacher=tiny.single))
    assert done[-1].best >= 0.8
    card = export_model(tmp_path, tmp_path).card
    assert card.single_sha256 is None, "it is nobody's backup"
    for more in ({}, {"single": tiny.single}):
        with pytest.raises(ModelError, match="learns from a larger net: name one as its teacher"):
            next(run_training(settings, tmp_path / "alone", **more))


def test_a_mixture_has_the_labels_of_both_where_nobody_teaches(tiny: Any, make_settings: Callable[..., Any]) -> None:
    settings = make_settings("single", augment={"mix": 1.0, "erase": 0}, train={"batch": 16})
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=16)
    task = SingleTask(images, images, settings)
    views = draw_views(16, 16, settings.augment, _after_the_shuffle(16))
    _, loss = task.batch(torch.Generator().manual_seed(0))
    outputs = torch.zeros(16, 3, requires_grad=True)
    loss(outputs).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(images.labels)
    assert views.mixtures is not None
    own = views.mixtures.own.unsqueeze(1)
    one, other = (torch.nn.functional.one_hot(labels[some], 3) for some in (order, views.mixtures.other))
    torch.testing.assert_close(outputs.grad, (1 / 3 - (own * one + (1 - own) * other)) / 16)


def _after_the_shuffle(count: int) -> torch.Generator:
    generator = torch.Generator().manual_seed(0)
    torch.randperm(count, generator=generator)
    return generator


def test_a_backup_may_learn_from_a_larger_net_and_belongs_to_its_single(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    # A teacher that says the next class of every image: what it teaches is seen in the answers.
    turned = onnx.load(tiny.single.path)
    (output,) = turned.graph.output
    turned.graph.initializer.append(numpy_helper.from_array(np.array([2, 0, 1]), "turn"))
    turned.graph.node.append(helper.make_node("Gather", [output.name, "turn"], ["turned"], axis=1))
    turned.graph.output[0].name = "turned"
    onnx.save(turned, tmp_path / "teacher.onnx")
    sha256 = hashlib.sha256((tmp_path / "teacher.onnx").read_bytes()).hexdigest()
    card = tiny.single.card.model_copy(update={"name": "teacher", "sha256": sha256, "net": None})
    teacher = replace(tiny.single, path=tmp_path / "teacher.onnx", card=card)
    settings = make_settings("collage", distill={"weight": 1.0, "blank": 0.0, "strange": 0.0}, train={"epochs": 8})
    (*_, last) = run_training(settings, tmp_path / "run", single=tiny.single, teacher=teacher)
    assert last.accuracy is not None
    assert last.accuracy <= 0.2, "it has learnt what the teacher says"

    check_bound(tiny.single, export_model(tmp_path / "run", tmp_path / "models", single=tiny.single))
    with pytest.raises(ModelError, match="trained for another single than this teacher"):
        export_model(tmp_path / "run", tmp_path / "models", single=teacher)
    with pytest.raises(SettingsError, match="for another single, or by another teacher"):
        next(run_training(settings, tmp_path / "run", single=tiny.single))


def test_a_parity_learns_from_nobody_but_its_single(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    settings = make_settings("parity", model={"k": 2, "encoder": "sum"})
    with pytest.raises(SettingsError, match="learns what its single says: no other net can teach it that"):
        next(run_training(settings, tmp_path, single=tiny.single, teacher=tiny.single))


def test_a_single_without_distillation_takes_no_teacher(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"tiny-single has no \[distill\] table"):
        next(run_training(make_settings("single"), tmp_path, single=tiny.single))
