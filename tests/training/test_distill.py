"""A classifier that Collage did not make, a folder of images: a collage-cnn that serves beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")
pytest.importorskip("skl2onnx", reason="skl2onnx is not installed (extra: dev)")

from collage.data import find_images, keep_pixels  # noqa: E402
from collage.dispatch import Policy, Role, Source  # noqa: E402
from collage.exceptions import DataMissing, ModelError, SettingsError  # noqa: E402
from collage.imaging import Preprocessing  # noqa: E402
from collage.serving import DataPlane, Encoded, ServingSettings  # noqa: E402
from collage.training import DistillRequest, SingleFacts, bring_single, distill  # noqa: E402
from collage.training import _ask as ask_module  # noqa: E402
from collage.training._ask import Files, Planes, ask  # noqa: E402
from collage.training._views import Views, apply_views, draw_views  # noqa: E402
from collage.zoo import LoadedModel, check_bound, load_model  # noqa: E402

from .foreign import CLASSES, SIDE, convolutions, sklearn_classifier, write_images  # noqa: E402

pytestmark = pytest.mark.train

PLAIN = SingleFacts(mean=(0.0,), std=(1.0,))


class Foreign(NamedTuple):
    """A scikit-learn model's file, and images by class in train/ and test/."""

    model: Path
    images: Path


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    folder = tmp_path_factory.mktemp("foreign")
    for split, count in (("train", 40), ("test", 12)):
        write_images(folder / "images" / split, count, seed=count)
    found = find_images(folder / "images", "train", classes=CLASSES)
    pixels = keep_pixels(found, Preprocessing(size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3), folder / "kept.u8", CLASSES)
    sklearn_classifier(folder / "forest.onnx", pixels.pixels, pixels.labels)
    return Foreign(folder / "forest.onnx", folder / "images")


@pytest.fixture(scope="session")
def single(foreign: Foreign, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return bring_single(foreign.model, PLAIN, tmp_path_factory.mktemp("models"), folders=CLASSES)


def request(images: Path, **changes: Any) -> DistillRequest:
    """A small one: it is over after some hundred steps, whatever the time."""
    given = {"name": "small", "images": images, "labels": True, "grid": 2, "minutes": 1.5, "epochs": 6, "cost": 10.0}
    return DistillRequest(**(given | changes))


def test_probabilities_behind_labels_are_found(single: LoadedModel) -> None:
    """scikit-learn's models give labels first."""
    assert single.card.output == "probabilities"
    assert single.card.classes == CLASSES
    assert single.path.name == "forest-adapted.onnx"


def test_a_collage_is_distilled_reported_and_served(single: LoadedModel, foreign: Foreign, tmp_path: Path) -> None:
    said: list[str] = []
    stages: dict[str, float] = {}
    model, summary = distill(
        single, request(foreign.images), tmp_path / "run", tmp_path, told=stages.__setitem__, say=said.append
    )
    check_bound(load_model(single.path), model)
    card = load_model(model.path).card
    assert (card.role, card.grid, card.output, card.isolated) == (Role.COLLAGE, 2, "probabilities", True)
    assert card.preprocessing == single.card.preprocessing  # small images go on a tile as they are
    assert set(stages.values()) == {1.0}
    assert summary["a_a"] > 0.8  # it has learnt, or the rest would say little
    assert summary["a_d"] > 0.6
    assert summary["agreement"] > 0.6
    assert summary["test_images"] == 36
    assert summary["a_d"] == pytest.approx(np.mean(summary["per_position"]), abs=1e-4)
    assert (len(summary["per_position"]), len(summary["per_fill"])) == (4, 4)
    assert summary["macs_ratio"] <= 10
    assert summary["latency_ratio"]["median"] > 0
    assert card.accuracy is not None
    assert card.accuracy.accuracy == summary["a_d"]
    assert card.calibration is not None
    assert card.calibration.temperature == summary["temperature"]
    report = tmp_path / "small"
    assert json.loads((report / "summary.json").read_text()) == summary
    page = (report / "report.md").read_text()
    assert f"{summary['a_d']:.2%}" in page
    for name in ("samples-small.png", "positions-small.png"):
        assert name in page
        assert (report / name).read_bytes().startswith(b"\x89PNG")

    answers = asyncio.run(_answers(single, model, foreign.images))
    labels = sorted(CLASSES * 12)
    ours = [(answer.label, name) for answer, name in zip(answers, labels, strict=True) if answer.degraded]
    assert len(ours) > 18  # by far most come from collages
    assert np.mean([label == name for label, name in ours]) == pytest.approx(summary["a_d"], abs=0.2)


async def _answers(single: LoadedModel, model: LoadedModel, images: Path) -> list[Any]:
    """Of a data plane whose singles take long; all images come at once, after a few that show how long."""
    settings = ServingSettings(single=str(single.path), backup=str(model.path), workers=3)
    policy = Policy(code=Source.COLLAGE, dedicated=1, trigger="at_once", accept="first", budget=4, warmup=1)
    plane = DataPlane(settings, policy=policy, hold=lambda worker, role: 0.5 if role is Role.SINGLE else 0.0)
    files = [Encoded(path.read_bytes()) for path in sorted((images / "test").rglob("*.*"))]
    try:
        await plane.start()
        await plane.classify(files[:4])
        return await plane.classify(files)
    finally:
        await plane.stop()


def test_without_labels_the_single_alone_teaches(single: LoadedModel, tmp_path: Path) -> None:
    images = tmp_path / "flat"
    write_images(images, 40, by_class=False)
    before = single.path.with_suffix(".json").read_text()
    model, summary = distill(single, request(images, labels=False), tmp_path / "run", tmp_path / "out")
    assert (summary["a_a"], summary["a_d"], summary["labels"]) == (None, None, False)
    assert summary["agreement"] > 0.6
    assert summary["test_images"] == 12  # kept out, as there is no test folder
    card = load_model(model.path).card
    assert card.accuracy is not None
    assert card.accuracy.against == "single"
    assert single.path.with_suffix(".json").read_text() == before  # nothing was learnt of the single
    assert "no labels" in (tmp_path / "out/small/report.md").read_text()


def test_at_224_pixels_with_many_classes_shapes_and_cost_fit(tmp_path: Path) -> None:
    convolutions(tmp_path / "wide.onnx", size=224, classes=120, batch=1, width=96)
    facts = PLAIN.changed(resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    single = bring_single(tmp_path / "wide.onnx", facts, tmp_path)
    write_images(tmp_path / "images", 8, by_class=False)
    wanted = request(tmp_path / "images", labels=False, grid=3, cost=1.0, epochs=1, minutes=0.02)
    model, summary = distill(single, wanted, tmp_path / "run", tmp_path)
    card = model.card
    assert (card.preprocessing.size, card.preprocessing.resize) == (64, 73)
    assert (len(card.classes), card.capacity) == (120, 9)
    assert summary["macs_ratio"] <= 1.0
    answers = asyncio.run(_first_answer(single, model, tmp_path / "images"))
    assert answers[0].scores.shape == (120,)


async def _first_answer(single: LoadedModel, model: LoadedModel, images: Path) -> list[Any]:
    plane = DataPlane(ServingSettings(single=str(single.path), backup=str(model.path), workers=2))
    try:
        await plane.start()
        return await plane.classify([Encoded(next(iter(sorted(images.glob("*.jpg")))).read_bytes())])
    finally:
        await plane.stop()


def test_a_stopped_distillation_asks_and_decides_nothing_twice(
    single: LoadedModel, foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, run = request(foreign.images, epochs=3), tmp_path / "run"

    def stop(stage: str, share: float) -> None:
        if stage == "training" and share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(single, wanted, run, tmp_path, told=stop)
    plan, log = (run / "plan.json").read_text(), (run / "log.csv").read_text()
    assert log.count("\n") == 2  # the head, and an epoch
    with pytest.raises(SettingsError, match="holds another distillation"):
        distill(single, wanted.model_copy(update={"seed": 5}), run, tmp_path)
    asked: list[int] = []
    run_batch = ask_module.run_batch
    monkeypatch.setattr(ask_module, "run_batch", lambda s, x: (asked.append(len(x)), run_batch(s, x))[1])
    distill(single, wanted, run, tmp_path)
    assert sum(asked) == 36  # the test images; the others had been answered
    assert (run / "plan.json").read_text() == plan
    assert (run / "log.csv").read_text().startswith(log)
    assert (run / "log.csv").read_text().count("\n") <= 4


def test_asking_goes_on_where_it_was_killed(
    single: LoadedModel, foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_module, "_CHUNK", 16)
    files = Files(find_images(foreign.images, "train", classes=CLASSES), single.card.preprocessing)
    views = draw_views(2 * len(files), len(files), _augment(), torch.Generator().manual_seed(0))

    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    whole = ask(single, files, views, 2, cache=tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        ask(single, files, views, 2, cache=tmp_path / "broken.pt", progress=stop)
    heard: list[float] = []
    assert torch.equal(ask(single, files, views, 2, cache=tmp_path / "broken.pt", progress=heard.append), whole)
    assert heard[0] == pytest.approx(80 / 120)  # 64 were kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pt", "whole.pt"]
    gone = replace(single, path=tmp_path / "gone.onnx")
    assert torch.equal(ask(gone, files, views, 2, cache=tmp_path / "whole.pt"), whole)


def _augment() -> Any:
    from collage.training._settings import AugmentSettings

    return AugmentSettings(shift=2)


def test_the_single_sees_at_its_size_what_the_tile_shows() -> None:
    """Pictures of 4 x 4 squares, each one pixel of a tile: views and sizes change places."""
    squares = torch.randint(0, 255, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    large = squares.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # (6, 3, 32, 32)
    small_size, large_size = (Preprocessing(size=size, mean=(0.0,) * 3, std=(1.0,) * 3) for size in (8, 32))
    views = Views(torch.arange(6) % 2 == 0, torch.tensor([0, 1, 2, 3, 4, 2]), torch.tensor([4, 3, 2, 1, 0, 2]))
    theirs, shift = views.scaled(2, 4.0)
    assert shift == 8
    tiles = apply_views(squares, views, 2, small_size)
    seen = apply_views(large, theirs, shift, large_size)
    assert torch.equal(seen[:, :, ::4, ::4], tiles)
    same, shift = views.scaled(2, 1.0)
    assert (shift, all(torch.equal(*pair) for pair in zip(same[:3], views[:3], strict=True))) == (2, True)


def test_planes_and_files_are_the_same_pictures(foreign: Foreign, tmp_path: Path) -> None:
    preprocessing = Preprocessing(size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = find_images(foreign.images, "test", classes=CLASSES)
    kept = keep_pixels(found, preprocessing, tmp_path / "kept.u8", CLASSES)
    planes = Planes(torch.from_numpy(kept.pixels).permute(0, 3, 1, 2))
    for start in (0, 7):
        chunks = [torch.cat(list(pictures.chunks(start))) for pictures in (planes, Files(found, preprocessing))]
        assert torch.equal(*chunks)
        assert len(chunks[0]) == 36 - start


def test_wrong_class_names_are_noticed(foreign: Foreign, tmp_path: Path) -> None:
    """Outputs in another order than the folders' names: right by chance, or less."""
    turned = bring_single(foreign.model, PLAIN.changed(classes=("middle", "across", "down")), tmp_path)
    images = tmp_path / "images"
    write_images(images, 180)
    with pytest.raises(ModelError, match=r"right for only .* of 54 labelled images, as by chance"):
        distill(turned, request(images), tmp_path / "run", tmp_path)


def test_what_cannot_be_distilled_is_refused(single: LoadedModel, foreign: Foreign, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tile: 24 pixels; the single itself sees only 20"):
        distill(single, request(foreign.images, tile=24), tmp_path / "run", tmp_path)
    write_images(tmp_path / "few", 1, by_class=False)
    with pytest.raises(DataMissing, match="3 images are too few"):
        distill(single, request(tmp_path / "few", labels=False), tmp_path / "other", tmp_path)


def start(foreign: Foreign, folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from collage.cli import main; main()", "distill", "--single", str(foreign.model)]
    command += [
        "--images",
        str(foreign.images),
        "--labels",
        "--grid",
        "2",
        "--cost",
        "10",
        "--minutes",
        "0.8",
        "--epochs",
        "4",
    ]
    command += ["--run", str(folder / "run"), "--out", str(folder), "--threads", "1", *more]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_ctrl_c_loses_little(foreign: Foreign, tmp_path: Path) -> None:
    # More evaluations than it can have had by the time the signal comes, gain or no gain; and as two processes.
    more = ("--epochs", "100000", "--give-up", "100000", "--processes", "2")
    first = start(foreign, tmp_path, "--mean", "0", "--std", "1", *more)
    assert first.stdout is not None
    for line in first.stdout:
        if "validation A_d" in line:
            first.send_signal(signal.SIGINT)
            break
    _, errors = first.communicate()
    assert first.returncode == 130
    assert errors == f"stopped; the same command goes on from {tmp_path / 'run'}\n"
    assert (tmp_path / "run/checkpoint.pt").exists()


def test_what_the_card_says_already_may_be_said_again(tiny: Any, patterns: Path, tmp_path: Path) -> None:
    """Or the same command could not go on: its first run wrote the card."""
    from collage.cli._distill import _load_single

    model = tmp_path / "my.onnx"
    model.write_bytes(tiny.single.path.read_bytes())  # as it is to be: no adapted copy is needed

    def load(facts: SingleFacts | None = None, **given: object) -> LoadedModel:
        given = {"size": None, "mean": None, "std": None} | given
        facts, told_by = facts or SingleFacts(), facts is not None
        found: LoadedModel = _load_single(str(model), patterns, None, True, facts, given, told_by=told_by)
        return found

    first = load(mean=(0.0,), std=(1.0,), size=None)
    assert load(mean=(0.0,), std=(1.0,), size=16).card == load().card == first.card
    assert load(SingleFacts(mean=(0.0,), licence="mine")).card == first.card
    with pytest.raises(SettingsError, match=r"--mean: .*my.json says already what"):
        load(mean=(0.5,), std=(1.0,))
    with pytest.raises(SettingsError, match=r"--facts: .*my.json says already what"):
        load(SingleFacts(mean=(0.5,)))


def test_mistakes_at_the_command_line_are_one_line(foreign: Foreign, tmp_path: Path) -> None:
    for more, said in (
        ([], "say how pixels, scaled to 0..1, are normalised"),
        (["--mean", "a,b", "--std", "1"], "mean: 'a,b'; numbers with commas between them are needed"),
        (["--mean", "0", "--std", "1", "--size", "99"], "size: 99, but"),
    ):
        process = start(foreign, tmp_path, *more)
        _, errors = process.communicate()
        assert process.returncode == 2
        assert said in errors
        assert errors.count("\n") == 1
