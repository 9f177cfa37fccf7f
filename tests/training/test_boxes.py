"""A detector for collages: it learns boxes, and serves by the same commands as any collage-cnn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import BoxesCode  # noqa: E402
from collage.data import load_pixels, open_dataset, split_validation  # noqa: E402
from collage.exceptions import ModelError  # noqa: E402
from collage.nets import YoloNet, YoloNetSettings  # noqa: E402
from collage.training import assess, calibrate, export_model, net_from_model, run_training  # noqa: E402
from collage.training._boxes import BoxTask  # noqa: E402
from collage.zoo import check_bound, open_session  # noqa: E402

pytestmark = pytest.mark.train

NET = {"family": "yolo", "stem": 8, "widths": [24], "blocks": [2]}
MakeSettings = Callable[..., Any]


class Teacher:
    """Says the labels."""

    def __init__(self, labels: Any) -> None:
        self._logits = 5 * torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()

    def draw(self, index: Any, generator: Any, part: slice) -> Any:
        from collage.training._views import Views

        still = torch.zeros(len(index), dtype=torch.bool)
        return Views(still, torch.ones_like(index), torch.ones_like(index)), self._logits[index[part]]


@pytest.fixture
def task(make_settings: MakeSettings, patterns: Path) -> BoxTask:
    settings = make_settings("collage", model={"net": NET}, distill={"blank": 0.5, "strange": 0.0})
    images = load_pixels(open_dataset(str(patterns)), "train", settings.preprocessing)
    training, validation = split_validation(images, 24, 0)
    return BoxTask(training, validation, settings, Teacher(training.labels))


def truth(labels: Any, filled: Any, side: int = 8) -> Any:
    """Outputs (B, cells, 8) of a net that knows: one sure box for each filled tile of 2 x 2, at the tile's centre."""
    outputs = torch.zeros(len(labels) // 4, side * side, 8)
    outputs[..., :4] = torch.tensor([0.5, 0.5, 0.02, 0.02])
    outputs[..., 4] = -20.0
    for tile in range(4):
        row, column = divmod(tile, 2)
        cell = (2 + 4 * row) * side + 2 + 4 * column
        outputs[:, cell, :4] = torch.tensor([(column + 0.5) / 2, (row + 0.5) / 2, 0.5, 0.5])
        outputs[:, cell, 4] = torch.where(filled.view(-1, 4)[:, tile], 20.0, -20.0)
        outputs[:, cell, 5:] = 20.0 * torch.nn.functional.one_hot(labels.view(-1, 4)[:, tile], 3)
    return outputs


def test_the_loss_is_least_for_the_truth(task: BoxTask) -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 1, 2, 2])
    filled = torch.tensor([True, True, False, True, True, False, True, True])
    soft = 40.0 * torch.nn.functional.one_hot(labels, 3)

    def loss(change: Callable[[Any], None] = lambda outputs: None) -> float:
        outputs = truth(labels, filled)
        change(outputs)
        return float(task._loss(outputs, labels, soft, filled))

    def change(tile: int, column: int, value: float) -> Callable[[Any], None]:
        row, at = divmod(tile, 2)

        def apply(outputs: Any) -> None:
            outputs[0, (2 + 4 * row) * 8 + 2 + 4 * at, column] = value

        return apply

    assert loss() < 0.01
    assert loss(change(0, 2, 0.2)) > loss() + 0.05  # a box of another size
    assert loss(change(0, 4, -3.0)) > 0.4  # a tile that is not seen
    assert loss(change(2, 4, 3.0)) > 0.02  # a blank one that is
    assert loss(change(2, 2, 0.1)) == pytest.approx(loss(), abs=1e-6)  # nobody asks for the box of a blank one
    assert loss(change(1, 5, 60.0)) > 1  # a wrong class

    def beside(outputs: Any) -> None:  # the cell beside the centre, with its tile's own box: ignored
        outputs[0, 2 * 8 + 3] = outputs[0, 2 * 8 + 2]

    def elsewhere(outputs: Any) -> None:  # the same, where that box is nobody's
        outputs[0, 2 * 8 + 7, :] = outputs[0, 2 * 8 + 2]

    assert loss(beside) == pytest.approx(loss(), abs=1e-6)
    assert loss(elsewhere) > 0.1


def test_boxes_of_a_fresh_net_lie_where_their_cells_do() -> None:
    net = YoloNet(YoloNetSettings.model_validate(NET), channels=1, classes=3, grid=2).eval()
    with torch.no_grad():
        boxes = net(torch.zeros(2, 1, 32, 32))
    assert boxes.shape == (2, 64, 8)
    place = (boxes[0, :, :2] * 8).floor().long()
    assert (place[:, 1] * 8 + place[:, 0]).tolist() == list(range(64))
    assert ((boxes[..., 2:4] > 0) & (boxes[..., 2:4] < 1)).all()


def test_a_detector_is_trained_exported_and_evaluated(
    make_settings: MakeSettings, tiny: Any, patterns: Path, tmp_path: Path
) -> None:
    loop = {"epochs": 8, "batch": 2, "learning_rate": 0.05}
    named = {"net": NET, "name": "tiny-yolo"}
    settings = make_settings("collage", model=named, distill={"blank": 0.3}, train=loop)
    shares = [done.accuracy for done in run_training(settings, tmp_path / "run", single=tiny.single)]
    assert shares[-1] > 0.7
    model = export_model(tmp_path / "run", tmp_path, single=tiny.single)
    check_bound(tiny.single, model)
    assert (model.card.code, model.card.head, model.card.unknown) == ("collage-yolo", "boxes", False)
    inputs = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    session = open_session(model.path)
    (boxes,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        assert np.abs(net_from_model(model)(inputs).numpy() - boxes).max() < 1e-3
    blank = np.zeros((1, 1, 32, 32), np.float32)
    (boxes,) = session.run(None, {session.get_inputs()[0].name: blank})
    assert BoxesCode(2, model.card.preprocessing, 3).decode(boxes, range(4), {}) == {}
    summary = assess(tiny.single, [model], tmp_path / "out", dataset=str(patterns))["models"]["tiny-yolo"]
    assert summary["code"] == "collage-yolo"
    assert summary["accuracy"] > 0.6
    assert len(summary["per_position"]) == len(summary["per_fill"]) == 4
    with pytest.raises(ModelError, match="answers with boxes"):
        calibrate(tiny.single, [model], dataset=str(patterns))
