"""What a net is shown: views, collages with blank tiles, and what the single says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import CollageCode  # noqa: E402
from collage.data import load_pixels, open_dataset  # noqa: E402
from collage.imaging import normalise  # noqa: E402
from collage.training import CollageTask, ask_single, assemble, draw_filled, run_training  # noqa: E402
from collage.training._settings import DistillSettings  # noqa: E402
from collage.training._single import to_planes  # noqa: E402
from collage.training._strange import draw_strange  # noqa: E402
from collage.training._views import (  # noqa: E402
    apply_views,
    normalise_batch,
    show,
)
from collage.zoo import open_session  # noqa: E402

from .colours import PREPROCESSING, colours, seeded  # noqa: E402

pytestmark = pytest.mark.train


def test_training_sees_what_serving_sees() -> None:
    images = colours(4)
    planes = normalise_batch(to_planes(images), PREPROCESSING).numpy()
    tiles = [normalise(pixels, PREPROCESSING) for pixels in images.pixels]
    np.testing.assert_allclose(planes, np.stack(tiles), atol=1e-6)
    canvas = CollageCode(2, PREPROCESSING, 3, unknown=True).encode(tiles)
    assert (assemble(torch.from_numpy(np.stack(tiles)), 2).numpy() == canvas).all()


@pytest.mark.parametrize("tiles", [4, 9, 25])
def test_blank_tiles_are_drawn_as_groups_leave_them(tiles: int) -> None:
    filled = draw_filled(4000, tiles, 0.3, seeded())
    counts = filled.sum(1)
    partial = filled[counts < tiles]
    assert counts.min() >= 1
    assert 0.26 < len(partial) / 4000 < 0.34
    front = (partial.float().diff(dim=1) <= 0).all(1)  # filled from the first tile on
    assert front.float().mean() > 0.45
    assert set(counts.tolist()) == set(range(1, tiles + 1))
    assert (partial[~front].float().mean(0) < 0.8).all()  # no position is always full
    assert draw_filled(100, tiles, 0.0, seeded()).all()


def test_a_blank_tile_teaches_unknown_and_a_filled_one_the_singles_answer(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    settings = make_settings("collage", distill={"weight": 1.0, "blank": 0.9, "strange": 0.0})
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=40)
    planes, cache = to_planes(images), tmp_path / "answers.pt"
    teacher = ask_single(tiny.single, planes, settings.augment, settings.distill, cache=cache, seed=0)
    task = CollageTask(images, images, settings, teacher)
    canvas, loss = task.batch(seeded())
    outputs = torch.zeros(4, 4, 4, requires_grad=True)  # (B, tiles, classes + unknown)
    loss(outputs).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    tiles = canvas.view(4, 1, 2, 16, 2, 16).permute(0, 2, 4, 1, 3, 5).reshape(4, 4, -1)
    blank = (tiles == 0).all(-1)
    assert blank.any()
    assert not blank.all(1).any()
    push = -outputs.grad  # where the loss wants the outputs to go
    assert (push[blank][:, 3] > 0).all()
    assert (push[blank][:, :3] < 0).all()
    assert (push[~blank][:, 3] < 0).all()


def test_tiles_that_show_nothing_are_plain_coarse_or_fine() -> None:
    tiles = draw_strange(300, PREPROCESSING, seeded())
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    pixels = tiles * std + mean  # (n, 3, 12, 12), 0..1
    assert tiles.shape == (300, 3, 12, 12)
    assert -1e-6 < pixels.min() < 1e-3
    assert 1 - 1e-3 < pixels.max() < 1 + 1e-6
    values = [len(tile[0].unique()) for tile in pixels.round(decimals=4)]
    assert 70 < sum(value == 1 for value in values) < 200  # plain, and a few of two values that came out alike
    assert max(values) > 100
    coarse = [
        tile for tile in pixels if torch.equal(tile[:, ::3, ::3].repeat_interleave(3, 1).repeat_interleave(3, 2), tile)
    ]
    assert len(coarse) > 150  # the plain ones are that too
    saturated = ((pixels < 1e-4) | (pixels > 1 - 1e-4)).flatten(1).all(1)
    assert 100 < saturated.sum() < 200


@pytest.mark.parametrize("strange", [0.0, 0.5])
def test_a_tile_that_shows_nothing_teaches_unknown(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, strange: float
) -> None:
    settings = make_settings("collage", distill={"weight": 1.0, "blank": 0.0, "strange": strange})
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=40)
    cache = tmp_path / "answers.pt"
    teacher = ask_single(tiny.single, to_planes(images), settings.augment, settings.distill, cache=cache, seed=0)
    outputs = torch.zeros(4, 4, 4, requires_grad=True)
    _, loss = CollageTask(images, images, settings, teacher).batch(seeded())
    loss(outputs).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    taught_unknown = (-outputs.grad[..., 3] > 0).sum()
    assert taught_unknown == 0 if strange == 0 else 2 < taught_unknown < 14


def test_the_single_is_asked_once(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = make_settings("collage")
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=20)
    planes, cache = to_planes(images), tmp_path / "answers.pt"
    augment, distill = settings.augment, DistillSettings(views=3)
    heard: list[float] = []
    first = ask_single(tiny.single, planes, augment, distill, cache=cache, seed=5, progress=heard.append)
    assert heard[-1] == 1.0
    gone = replace(tiny.single, path=tmp_path / "gone.onnx")
    again = ask_single(gone, planes, augment, distill, cache=cache, seed=5)
    index = torch.arange(20)
    whole = slice(20)
    (views, soft), (same_views, same_soft) = (it.draw(index, seeded(), whole) for it in (first, again))
    assert all(torch.equal(*pair) for pair in zip(views[:3], same_views[:3], strict=True))
    assert views.mixtures is same_views.mixtures is None
    assert torch.equal(soft, same_soft)
    # What is remembered is what the single says of exactly this view; kept as float16.
    (logits,) = open_session(tiny.single.path).run(
        None, {"images": apply_views(planes, views, augment.shift, settings.preprocessing).numpy()}
    )
    np.testing.assert_allclose(soft.numpy(), logits, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("role", ["collage", "cheap", "parity"])
def test_distorted_views_and_mixtures_are_what_the_single_was_asked_about(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, role: str
) -> None:
    model = {"k": 2, "encoder": "sum"} if role == "parity" else {}
    augment = {"mix": 0.25, "paste": 0.25, "warp": 0.5, "tone": 0.5, "erase": 0}
    settings = make_settings(role, model=model, augment=augment, distill={"views": 3, "blank": 0.0, "strange": 0.0})
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=40)
    planes = to_planes(images)
    teacher = ask_single(tiny.single, planes, settings.augment, settings.distill, cache=tmp_path / "answers.pt", seed=5)
    views, soft = teacher.draw(torch.arange(40), seeded(), slice(40))
    assert views.mixtures is not None
    assert views.plain is not None
    assert 5 < int(views.plain.sum()) < 35
    assert (views.mixtures.own >= 0.5).all()
    shown = show(planes.__getitem__, torch.arange(40), views, settings.augment.shift, settings.preprocessing)
    one = apply_views(planes, views, settings.augment.shift, settings.preprocessing)
    other = apply_views(planes[views.mixtures.other], views, settings.augment.shift, settings.preprocessing)
    own = views.mixtures.weights(settings.preprocessing.size)
    torch.testing.assert_close(shown, own * one + (1 - own) * other)
    (logits,) = open_session(tiny.single.path).run(None, {"images": shown.numpy()})
    np.testing.assert_allclose(soft.numpy(), logits, rtol=2e-3, atol=2e-3)

    done = list(run_training(settings, tmp_path / "run", single=tiny.single))
    assert done[-1].loss < done[0].loss


def test_only_a_teacher_knows_what_a_mixture_shows(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    for augment in ({"mix": 0.5}, {"paste": 0.5}):
        with pytest.raises(ValueError, match="mix and paste: what a mixture shows is no one label"):
            make_settings("learned", model={"k": 2}, augment=augment)
    # The labels of mixtures are not looked at: wrong ones change nothing.
    settings = make_settings("collage", augment={"mix": 1.0}, distill={"blank": 0.0, "strange": 0.0})
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=40)
    cache = tmp_path / "answers.pt"
    teacher = ask_single(tiny.single, to_planes(images), settings.augment, settings.distill, cache=cache, seed=0)
    wrong = replace(images, labels=(images.labels + 1) % 3)
    outputs = torch.zeros(4, 4, 4)
    losses = [CollageTask(some, images, settings, teacher).batch(seeded())[1](outputs) for some in (images, wrong)]
    assert losses[0] == losses[1]


def test_every_image_is_shown_once_an_epoch(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = make_settings(
        "collage", augment={"flip": False, "shift": 0, "erase": 0}, distill={"blank": 0.0, "strange": 0.0}
    )
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=48)
    planes = to_planes(images)
    teacher = ask_single(tiny.single, planes, settings.augment, settings.distill, cache=tmp_path / "answers.pt", seed=0)
    task, generator = CollageTask(images, images, settings, teacher), seeded()
    assert task.steps == 3
    every = {image.numpy().tobytes() for image in normalise_batch(planes, settings.preprocessing)}
    orders = []
    for _ in range(2):
        canvases = torch.cat([task.batch(generator)[0] for _ in range(task.steps)])  # (12, 1, 32, 32)
        tiles = canvases.view(12, 1, 2, 16, 2, 16).permute(0, 2, 4, 1, 3, 5).reshape(48, 1, 16, 16)
        orders.append([tile.numpy().tobytes() for tile in tiles])
        assert set(orders[-1]) == every
    assert orders[0] != orders[1]


def test_fewer_images_than_a_step_takes_are_shown_again(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    settings = make_settings("collage")
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=6)
    teacher = ask_single(
        tiny.single, to_planes(images), settings.augment, settings.distill, cache=tmp_path / "answers.pt", seed=0
    )
    task = CollageTask(images, images, settings, teacher)
    assert task.steps == 1
    assert task.batch(seeded())[0].shape == (4, 1, 32, 32)
