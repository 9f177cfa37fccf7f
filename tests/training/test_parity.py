"""A parity model learns sums of the single's outputs, of the very images that serving would encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import ParityCode  # noqa: E402
from collage.exceptions import ModelError  # noqa: E402
from collage.imaging import Preprocessing  # noqa: E402
from collage.training import (  # noqa: E402
    ParityTask,
    TrainingSettings,
    change_training,
    encode_groups,
    export_model,
    run_training,
)
from collage.training._order import mixed_order  # noqa: E402
from collage.zoo import check_bound, load_model  # noqa: E402

pytestmark = pytest.mark.train

PREPROCESSING = Preprocessing(size=6, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
MakeParity = Callable[..., TrainingSettings]


@pytest.fixture
def make_parity(make_settings: Callable[..., Any]) -> MakeParity:
    def make(encoder: str = "sum", k: int = 2, **changes: dict[str, Any]) -> TrainingSettings:
        changes["model"] = {"k": k, "encoder": encoder} | changes.get("model", {})
        settings = make_settings("parity", **changes)
        assert isinstance(settings, TrainingSettings)
        return settings

    return make


@pytest.mark.parametrize(("k", "encoder"), [(2, "sum"), (3, "sum"), (4, "sum"), (2, "concat"), (4, "concat")])
def test_training_encodes_as_serving_does(k: int, encoder: Any) -> None:
    images = np.random.default_rng(0).normal(size=(3 * k, 3, 6, 6)).astype(np.float32)
    code = ParityCode(k, encoder, PREPROCESSING, 3)
    expected = np.concatenate([code.encode(list(images[at : at + k])) for at in range(0, 3 * k, k)])
    np.testing.assert_allclose(encode_groups(torch.from_numpy(images), k, encoder).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_sum_of_the_singles_outputs_is_the_best_answer(make_parity: MakeParity, weight: float) -> None:
    class Fixed:
        """A teacher whose outputs the test knows, by image; no view changes anything."""

        def draw(self, index: Any, generator: Any, part: slice) -> Any:
            from collage.training._views import Views

            self.last = outputs[index]
            still = torch.full(index.shape, 1)
            return Views(torch.zeros(index.shape, dtype=torch.bool), still, still), self.last[part]

    from collage.data import PixelSet

    rng = np.random.default_rng(0)
    images = PixelSet(rng.integers(256, size=(12, 16, 16, 1), dtype=np.uint8), np.arange(12) % 3, list("abc"))
    outputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    settings, teacher = make_parity(k=3, distill={"weight": weight}), Fixed()
    task = ParityTask(images, images, settings, teacher, outputs)  # type: ignore[arg-type]
    inputs, loss = task.batch(torch.Generator().manual_seed(1))
    assert inputs.shape == (8, 1, 16, 16)
    sums = teacher.last.view(8, 3, 3).sum(1)
    assert all(loss(sums) < loss(sums + 0.3 * torch.randn(8, 3)) for _ in range(20))
    if weight == 0:
        assert loss(sums) == 0


def test_validation_rebuilds_each_position_in_turn(make_parity: MakeParity) -> None:
    from collage.data import PixelSet

    pixels = np.arange(0, 250, 10, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2)
    labels = np.arange(25) % 3
    images = PixelSet(pixels, labels, list("abc"))
    answers = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()
    task = ParityTask(images, images, make_parity(k=2), None, answers)  # type: ignore[arg-type]

    class Sums(torch.nn.Module):
        """Knows the sum of a group's answers, but for the first `wrong` groups, whose sum is one more of class 0."""

        wrong = 0

        def forward(self, parity: Any) -> Any:
            sums = answers[order].view(13, 2, 3).sum(1)
            sums[: self.wrong, 0] += 5
            return sums

    net, order = Sums(), mixed_order(25, 2)
    assert task.validate(net) == 1.0
    net.wrong = 13
    assert task.validate(net) == pytest.approx(np.mean(labels[order.numpy()] == 0))


def test_groups_for_validation_mix_classes_that_the_dataset_keeps_apart(make_parity: MakeParity) -> None:
    from collage.data import PixelSet

    labels = np.repeat(np.arange(3), 40)  # class by class, as image folders are
    images = PixelSet(np.zeros((120, 16, 16, 1), np.uint8), labels, list("abc"))
    answers = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()
    task = ParityTask(images, images, make_parity(k=2), None, answers)  # type: ignore[arg-type]

    class Mean(torch.nn.Module):
        """Knows no more than what the sums are on average: the answer is then any class but the other image's."""

        def forward(self, parity: Any) -> Any:
            return torch.tensor([0.68, 0.67, 0.66]).expand(len(parity), 3)

    # Right for one of the two other classes where classes differ; never where a group is all one class.
    assert 0.2 < task.validate(Mean()) < 0.5
    order = mixed_order(120, 7)
    assert len(order) == 126
    assert sorted(order[:120].tolist()) == list(range(120))
    assert torch.equal(order, mixed_order(120, 7))


@pytest.mark.parametrize("encoder", ["sum", "concat"])
def test_a_parity_learns_and_is_bound_to_its_single(
    tiny: Any, make_parity: MakeParity, tmp_path: Path, encoder: str
) -> None:
    settings = make_parity(encoder, train={"epochs": 12, "batch": 4, "evaluate_every": 3})
    losses = [done.loss for done in run_training(settings, tmp_path / "run", single=tiny.single)]
    assert losses[-1] < 0.6 * losses[0]
    model = export_model(tmp_path / "run", tmp_path / "models", single=tiny.single)
    card = load_model(model.path).card
    check_bound(tiny.single, model)
    assert (card.role, card.k, card.encoder, card.capacity, card.unknown) == ("parity", 2, encoder, 2, False)
    assert card.cost is not None
    assert card.cost.macs_ratio == pytest.approx(1.0, abs=0.01)  # the same backbone
    moved = card.model_copy(update={"preprocessing": card.preprocessing.model_copy(update={"mean": (0.1,)})})
    with pytest.raises(ModelError, match="preprocessing differs from that of tiny-single"):
        check_bound(tiny.single, replace(model, card=moved))


def test_trainings_side_by_side_ask_the_single_once(tiny: Any, make_parity: MakeParity, tmp_path: Path) -> None:
    heard: list[float] = []
    first, second = make_parity("sum", train={"epochs": 1}), make_parity("concat", train={"epochs": 1})
    list(run_training(first, tmp_path / "first", single=tiny.single, asking=heard.append))
    assert heard
    heard.clear()
    list(run_training(second, tmp_path / "second", single=tiny.single, asking=heard.append))
    assert not heard
    for number, other in enumerate(
        (
            change_training(second, limit=40),
            second.model_copy(update={"augment": second.augment.model_copy(update={"shift": 2})}),
        )
    ):  # other images, and other views of them
        list(run_training(other, tmp_path / f"other-{number}", single=tiny.single, asking=heard.append))
        assert heard
        heard.clear()


def test_settings_that_make_no_parity_are_refused(make_parity: MakeParity) -> None:
    for changes, message in (
        ({"encoder": "concat", "k": 3}, "concat takes 2 or 4 images, not 3"),
        ({"model": {"k": None}}, "every parity needs one|each of them needs it"),
        ({"model": {"grid": 2}}, "grid belongs to a collage"),
    ):
        with pytest.raises(ValueError, match=message):
            make_parity(**changes)  # type: ignore[arg-type]
