"""A model is only loaded if its file is the one its card describes, and a backup only beside its own single."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from collage.exceptions import ModelError
from collage.imaging import decode_image
from collage.zoo import check_bound, list_models, load_model, open_session, sample_images

MakeModel = Callable[..., Path]


def test_a_model_loads_by_its_card_and_by_its_file(make_model: MakeModel) -> None:
    card = make_model()
    for path in (card, str(card), card.with_suffix(".onnx"), str(card.with_suffix(".onnx"))):
        model = load_model(path)
        assert (model.card.name, model.path) == ("toy", card.with_suffix(".onnx"))


def test_the_session_answers(make_model: MakeModel) -> None:
    session = open_session(load_model(make_model()).path, threads=1)
    (logits,) = session.run(None, {"images": np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2)})
    assert logits.tolist() == np.arange(12).reshape(4, 3).tolist()
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("name", ["no-such-model", "no/such.onnx", "no-such.json", "", "../zoo", "."])
def test_a_missing_model_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="no model of that name"):
        load_model(name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"preprocessing": {"size": 0, "channels": 1, "mean": [0], "std": [1]}}, "preprocessing.size"),
        ({"preprocessing": {"size": 2, "channels": 3, "mean": [0], "std": [1]}}, "3 values each"),
        ({"classes": ["one"]}, "classes"),
        ({"role": "double"}, "role"),
        ({"role": "cheap"}, "single_sha256"),
        ({"grid": 3}, "grid belongs to a collage"),
        ({"role": "collage", "single_sha256": "0" * 64, "grid": 9}, "grid"),
        ({"sha256": "xyz"}, "sha256"),
        ({"colour": "red"}, "colour"),
        ({"file": "../toy.onnx"}, "plain file name"),
        ({"sha256": "0" * 64}, "not the file that its card describes"),
        ({"file": "gone.onnx"}, "gone.onnx: cannot be read"),
    ],
)
def test_a_damaged_card_is_refused_in_one_line_that_names_the_field(
    make_model: MakeModel, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        load_model(make_model(**changes))
    assert "\n" not in str(caught.value)


def test_a_card_that_is_no_json_is_refused(make_model: MakeModel) -> None:
    card = make_model()
    card.write_text("{")
    with pytest.raises(ModelError, match="damaged card"):
        load_model(card)


def test_a_changed_file_is_refused(make_model: MakeModel) -> None:
    card = make_model()
    with card.with_suffix(".onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="not the file that its card describes"):
        load_model(card)


def test_a_file_without_a_card_or_with_anothers_is_refused(make_model: MakeModel) -> None:
    card = make_model("alpha")
    bare = card.with_name("bare.onnx")
    bare.write_bytes(card.with_suffix(".onnx").read_bytes())
    with pytest.raises(ModelError, match=r"bare\.json belongs beside it"):
        load_model(bare)
    bare.with_suffix(".json").write_text(card.read_text())
    with pytest.raises(ModelError, match=r"describes 'alpha\.onnx'"):
        load_model(bare)


def test_what_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.onnx: ONNX Runtime cannot load it"):
        open_session(path)


def test_a_backup_is_bound_to_its_single(make_model: MakeModel) -> None:
    single = load_model(make_model("single"))
    backup = {"role": "collage", "grid": 2, "single_sha256": single.card.sha256}
    check_bound(single, load_model(make_model("good", **backup)))
    with pytest.raises(ModelError, match="another single"):
        check_bound(single, load_model(make_model("other", **{**backup, "single_sha256": "0" * 64})))
    with pytest.raises(ModelError, match="classes differ"):
        check_bound(single, load_model(make_model("order", **{**backup, "classes": ["b", "a", "c"]})))
    with pytest.raises(ModelError, match="gives probabilities"):
        check_bound(single, load_model(make_model("form", **{**backup, "output": "probabilities"})))


def test_the_shipped_samples_are_thirty_of_each_class() -> None:
    samples = sample_images()
    assert len(samples) == 300
    assert {sum(s.label == label for s in samples) for label in {s.label for s in samples}} == {30}
    assert {decode_image(sample.path.read_bytes()).size for sample in samples} == {(28, 28)}
    assert sample_images("no-such-dataset") == []


def test_every_shipped_model_is_whole_and_every_shipped_backup_has_its_single() -> None:
    models = list_models()
    # "auto" takes the first of a kind: a model comes before those that are named after it.
    assert [model.card.name for model in models] == sorted(model.card.name for model in models)
    singles = {model.card.sha256: model for model in models if model.card.role == "single"}
    for model in models:
        assert load_model(model.card.name) == model
        open_session(model.path)
        if model.card.role != "single":
            check_bound(singles[str(model.card.single_sha256)], model)


def test_the_models_command_lists_what_is_shipped() -> None:
    import typer

    from collage.cli import _models

    app = typer.Typer()
    app.callback()(lambda: None)
    _models.register(app)
    result = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert all(model.card.name in result.output for model in list_models())
