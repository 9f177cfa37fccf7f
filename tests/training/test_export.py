"""The exported file answers as the net does, is the same file each time, and says where it comes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import make_code  # noqa: E402
from collage.data import load_pixels, open_dataset  # noqa: E402
from collage.dispatch import Role  # noqa: E402
from collage.exceptions import ModelError  # noqa: E402
from collage.imaging import normalise  # noqa: E402
from collage.nets import TileNetSettings  # noqa: E402
from collage.training import assess, export_model, load_net, net_from_model, run_training, validation_logits  # noqa: E402
from collage.zoo import check_bound, load_model, open_session  # noqa: E402

pytestmark = pytest.mark.train

TOLERANCE = 1e-4  # of logits, absolute: float32 sums in another order


@pytest.mark.parametrize("role", ["single", "collage"])
@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_answers_as_torch(tiny: Any, role: str, batch: int) -> None:
    model, run = getattr(tiny, role), getattr(tiny, f"{role}_run")
    _, net, classes = load_net(run)
    side = 32 if role == "collage" else 16
    inputs = torch.randn(batch, 1, side, side, generator=torch.Generator().manual_seed(0))
    session = open_session(model.path)
    (logits,) = session.run(["logits"], {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        expected = net(inputs).numpy()
    assert classes == ["across", "down", "middle"]
    assert expected.shape == ((batch, 4, 4) if role == "collage" else (batch, 3))
    assert np.abs(logits - expected).max() < TOLERANCE


def test_the_cards_say_what_the_files_are(tiny: Any) -> None:
    single, collage = tiny.single.card, tiny.collage.card
    check_bound(tiny.single, tiny.collage)
    assert (single.role, single.grid, single.unknown, single.single_sha256) == ("single", None, False, None)
    assert (collage.role, collage.grid, collage.unknown, collage.capacity) == ("collage", 2, True, 4)
    assert single.dataset == collage.dataset == "patterns"  # the folder's name, not its path
    assert single.cost is not None
    assert collage.cost is not None
    assert collage.cost.macs_ratio == pytest.approx(collage.cost.macs / single.cost.macs, abs=1e-4)


def test_the_same_training_gives_the_same_file(tiny: Any, tmp_path: Path) -> None:
    again = export_model(tiny.single_run, tmp_path / "again")
    assert again.path.read_bytes() == tiny.single.path.read_bytes()  # or backups would lose their single
    model = onnx.load(again.path)
    texts = [model.doc_string, model.graph.doc_string, *(node.doc_string for node in model.graph.node)]
    texts += [entry.value for node in model.graph.node for entry in node.metadata_props]
    assert not any(texts)
    assert str(Path.cwd()).encode() not in again.path.read_bytes()
    assert b"site-packages" not in again.path.read_bytes()


def test_a_backup_is_only_bound_to_its_teacher(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="name the single that taught it"):
        export_model(tiny.collage_run, tmp_path)
    other = replace(tiny.single, card=tiny.single.card.model_copy(update={"name": "other", "sha256": "0" * 64}))
    with pytest.raises(ModelError, match="trained for another single than this other"):
        export_model(tiny.collage_run, tmp_path, single=other)
    assert not list(tmp_path.iterdir())
    # Where nothing else says whose it is, as of a distillation, the answers do.
    run = shutil.copytree(tiny.collage_run, tmp_path / "run", ignore=shutil.ignore_patterns("bond.json"))
    with pytest.raises(ModelError, match="trained for another single than this other"):
        export_model(run, tmp_path / "models", single=other)
    check_bound(tiny.single, export_model(run, tmp_path / "models", single=tiny.single))


def test_a_folder_without_a_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no checkpoint\.pt in it"):
        export_model(tmp_path, tmp_path / "out")


def test_a_cheap_single_learns_from_its_single(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = make_settings("cheap", train={"epochs": 2})
    (*_, last) = run_training(settings, tmp_path / "run", single=tiny.single)
    assert last.epoch == 2
    cheap = export_model(tmp_path / "run", tmp_path / "models", single=tiny.single)
    check_bound(tiny.single, load_model(cheap.path))
    assert cheap.card.cost is not None
    assert (cheap.card.cost.macs_ratio or 1) < 0.5


@pytest.mark.parametrize("change", [{"classes": ["x", "y", "z"]}, {"preprocessing": None}])
def test_a_single_that_does_not_fit_teaches_nothing(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    if "preprocessing" in change:
        change = {"preprocessing": tiny.single.card.preprocessing.model_copy(update={"mean": (0.1,)})}
    stranger = replace(tiny.single, card=tiny.single.card.model_copy(update=change))
    with pytest.raises(ModelError, match=r"other classes|must be that of tiny-single"):
        next(run_training(make_settings("collage"), tmp_path, single=stranger))
    with pytest.raises(ModelError, match="learns from a single: name one"):
        next(run_training(make_settings("collage"), tmp_path))


def test_an_older_training_of_other_settings_is_not_overwritten(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    from collage.exceptions import SettingsError

    folder = shutil.copytree(tiny.single_run, tmp_path / "run")
    with pytest.raises(SettingsError, match="other settings"):
        next(run_training(make_settings("single", train={"seed": 1}), folder))
    assert json.loads((folder / "settings.json").read_text())["train"]["seed"] == 0


@pytest.mark.parametrize("role", ["single", "collage"])
def test_an_exported_model_becomes_its_net_again(tiny: Any, role: str) -> None:
    model, run = getattr(tiny, role), getattr(tiny, f"{role}_run")
    _, net, _ = load_net(run)
    again = net_from_model(model)
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(again.state_dict()[name], value), name
    assert not again.training
    assert model.card.net == json.loads((run / "settings.json").read_text())["model"]["net"]


# Norms and convolutions are one in the files.
@pytest.mark.parametrize(
    "name", ["fashion-mnist-single", "fashion-mnist-collage-3x3", "fashion-mnist-collage-3x3-cheap"]
)
def test_shipped_models_answer_as_their_nets(name: str) -> None:
    model = load_model(name)
    side = 28 * (model.card.grid or 1)
    inputs = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    session = open_session(model.path)
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        assert np.abs(net_from_model(model)(inputs).numpy() - logits).max() < TOLERANCE


def test_a_net_that_is_not_the_files_is_refused(tiny: Any) -> None:
    card = tiny.single.card
    for net, message in (
        (None, "does not say what net it is"),
        ({"family": "residual", "stem": 8, "widths": [16], "blocks": [2]}, r"holds no stages\.1"),
        ({"family": "residual", "stem": 9, "widths": [16], "blocks": [1]}, r"holds no stem\.0\.weight of shape"),
        ({"family": "collage"}, "tiny-single: net: a net for collages needs a grid"),
        ({"family": "other"}, "tiny-single: net: Input tag 'other'"),
    ):
        with pytest.raises(ModelError, match=message):
            net_from_model(replace(tiny.single, card=card.model_copy(update={"net": net})))


@pytest.mark.parametrize(
    "backbone",
    [
        {"family": "whitened", "widths": [8, 12], "depth": 3},
        {"family": "residual", "stem": 4, "widths": [8], "blocks": [1]},
    ],
)
def test_an_isolated_tile_is_isolated_in_the_file_too(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, backbone: dict[str, Any]
) -> None:
    settings = make_settings("collage", train={"epochs": 1})
    net = settings.model.model_copy(update={"net": TileNetSettings.model_validate({"backbone": backbone})})
    settings = settings.model_copy(update={"model": net})
    for _ in run_training(settings, tmp_path / "run", single=tiny.single):
        pass
    model = export_model(tmp_path / "run", tmp_path, single=tiny.single)
    session = open_session(model.path)
    canvas = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    (before,) = session.run(None, {"collage": canvas})
    with torch.no_grad():
        assert np.abs(load_net(tmp_path / "run")[1](torch.from_numpy(canvas)).numpy() - before).max() < TOLERANCE
    for tile in range(4):
        row, column = (16 * place for place in divmod(tile, 2))
        here = np.s_[..., row : row + 16, column : column + 16]
        other = 100 * np.ones_like(canvas)
        other[here] = canvas[here]
        (after,) = session.run(None, {"collage": other})
        assert (after[0, tile] == before[0, tile]).all()  # bit for bit
        assert (after[0] != before[0]).any()


def test_one_training_of_tiles_gives_three_models(
    make_settings: Callable[..., Any], tiny: Any, patterns: Path, tmp_path: Path
) -> None:
    backbone = {"family": "residual", "stem": 8, "widths": [16], "blocks": [1]}
    settings = make_settings("collage", model={"net": {"family": "tiles", "backbone": backbone}}, train={"epochs": 8})
    for _ in run_training(settings, tmp_path / "run", single=tiny.single):
        pass
    collage, batch, cheap = (
        export_model(tmp_path / "run", tmp_path, single=tiny.single, kind=kind)
        for kind in (None, Role.BATCH, Role.CHEAP)
    )
    assert [model.card.code for model in (collage, batch, cheap)] == ["collage-isolated", "batch", "cheap"]
    assert [model.card.capacity for model in (collage, batch, cheap)] == [4, 4, 1]
    assert [model.card.name.removeprefix(collage.card.name) for model in (batch, cheap)] == ["-batch", "-cheap"]
    assert collage.card.cost is not None
    assert batch.card.cost == collage.card.cost  # the same arithmetic, in another form
    assert cheap.card.cost is not None
    assert cheap.card.cost.macs == pytest.approx(collage.card.cost.macs / 4, rel=0.01)
    for model in (collage, batch, cheap):
        check_bound(tiny.single, model)

    images = load_pixels(open_dataset(str(patterns)), "test", collage.card.preprocessing)
    tensors = [normalise(image, collage.card.preprocessing) for image in images.pixels[:4]]
    rows = []
    for model in (collage, batch, cheap):
        code, session = make_code(model.card), open_session(model.path)
        groups = [tensors] if code.capacity == 4 else [[tensor] for tensor in tensors]
        inputs = [code.encode(group) for group in groups]
        outputs = [session.run(None, {session.get_inputs()[0].name: one})[0] for one in inputs]
        rows.append(np.concatenate(outputs).reshape(4, -1))
        net = net_from_model(model)
        with torch.no_grad():
            assert np.abs(net(torch.from_numpy(inputs[0])).numpy() - outputs[0]).max() < TOLERANCE
    assert np.abs(rows[0] - rows[1]).max() < TOLERANCE
    assert np.abs(rows[0][:, :3] - rows[2]).max() < TOLERANCE

    one, other = (validation_logits(model, images, lambda share: None) for model in (collage, batch))
    assert np.abs(one - other).max() < TOLERANCE  # what temperatures are fitted on

    summary = assess(tiny.single, [collage, batch, cheap], tmp_path / "out", dataset=str(patterns))["models"]
    ours, theirs = summary[collage.card.name], summary[batch.card.name]
    assert ours["accuracy"] > 0.8
    assert theirs["accuracy"] == pytest.approx(ours["accuracy"], abs=1e-5)
    assert (theirs["n"], theirs["grid"], theirs["per_position"]) == (4, None, None)
    wide = export_model(tmp_path / "run", tmp_path, single=tiny.single, grid=3)
    assert (wide.card.name, wide.card.grid) == (f"{collage.card.name}-at-3x3", 3)
    assert wide.card.cost is not None
    assert wide.card.cost.macs == pytest.approx(collage.card.cost.macs * 9 / 4, rel=0.01)
    (other,) = open_session(wide.path).run(None, {"collage": make_code(wide.card).encode(tensors)})  # (1, 9, 4)
    assert np.abs(other[0, :4] - rows[0]).max() < TOLERANCE

    with pytest.raises(ModelError, match="serves other grids"):
        export_model(tiny.collage_run, tmp_path / "no", single=tiny.single, grid=3)
    for kind in (Role.BATCH, Role.PARITY):
        with pytest.raises(ModelError, match="only a collage-cnn of the family 'tiles'"):
            export_model(tiny.collage_run, tmp_path / "no", single=tiny.single, kind=kind)
