"""A learned code is trained around a single that stays as it is, and its files answer as its nets do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import LearnedCode, make_code  # noqa: E402
from collage.exceptions import ModelError  # noqa: E402
from collage.nets import Decoder, LearnedNet, LearnedNetSettings, build_net  # noqa: E402
from collage.training import (  # noqa: E402
    assess,
    export_model,
    load_net,
    net_from_model,
    run_training,
)
from collage.zoo import check_bound, load_model, open_session, worker_file  # noqa: E402

pytestmark = pytest.mark.train


def test_each_position_is_missing_once() -> None:
    decoder = Decoder(8, 3, 2)
    seen: list[Any] = []
    decoder.forward = lambda rows: seen.append(rows) or torch.arange(len(rows) * 6.0).view(-1, 3, 2)  # type: ignore
    singles, coded = torch.rand(5, 3, 2) + 1, torch.rand(5, 2) + 1
    rebuilt = decoder.rebuild(singles, coded)
    rows = seen[0].view(5, 3, 4, 2)  # (B, missing, k + 1, classes)
    for missing in range(3):
        others = [at for at in range(3) if at != missing]
        assert (rows[:, missing, missing] == 0).all()
        assert torch.equal(rows[:, missing, others], singles[:, others])
        assert torch.equal(rows[:, missing, 3], coded)
        # What the decoder says of the missing position, and of no other, is the answer.
        said = torch.arange(5 * 3 * 6.0).view(5, 3, 3, 2)[:, missing, missing]
        assert torch.equal(rebuilt[:, missing], said)


@pytest.mark.parametrize("encoder", ["mlp", "conv"])
def test_encoders_treat_colours_alike_and_begin_at_the_mean(encoder: Any) -> None:
    settings = LearnedNetSettings(encoder=encoder, width=4, dilations=(1, 2))
    net = LearnedNet(settings, k=2, channels=3, size=6, classes=4).eval()
    grey = torch.rand(2, 2, 1, 6, 6).expand(-1, -1, 3, -1, -1).reshape(2, 6, 6, 6)
    image = net.encoder(grey)
    assert image.shape == (2, 3, 6, 6)
    assert torch.allclose(image[:, 0], image[:, 2], atol=1e-6)
    for parameter in net.encoder.planes.parameters():
        parameter.data.zero_()
    assert torch.allclose(net.encoder(grey)[:, 1], (grey[:, 1] + grey[:, 4]) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="no classifier by itself"):
        build_net(settings, channels=3, classes=4, grid=None)


@pytest.mark.parametrize("encoder", ["mlp", "conv"])
def test_a_learned_code_learns_around_the_single_and_is_exported_in_two_files(
    tiny: Any, make_settings: Callable[..., Any], patterns: Path, tmp_path: Path, encoder: str
) -> None:
    net = {"family": "learned", "encoder": encoder, "width": 8, "dilations": [1, 2], "hidden": 32}
    train = {"epochs": 15, "batch": 4, "learning_rate": 0.05, "evaluate_every": 5}
    settings = make_settings("learned", model={"k": 2, "net": net}, train=train)
    single = net_from_model(tiny.single)
    before = {name: value.clone() for name, value in single.state_dict().items()}
    losses = [done.loss for done in run_training(settings, tmp_path / "run", single=tiny.single)]
    assert losses[-1] < 0.9 * losses[0]
    saved = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert all(name.startswith(("encoder.", "decoder.")) for name in saved["net"])  # the single is not trained
    assert all(torch.equal(value, before[name]) for name, value in single.state_dict().items())

    model = load_model(export_model(tmp_path / "run", tmp_path / "models", single=tiny.single).path)
    check_bound(tiny.single, model)
    card = model.card
    assert (card.role, card.k, card.capacity, card.code, card.encoder) == ("learned", 2, 2, "learned", None)
    assert card.cost is not None
    assert card.cost.macs_ratio > 1  # a call of the single, and the encoder's beside it
    code = make_code(card, model.path.parent)
    assert isinstance(code, LearnedCode)
    _, trained, _ = load_net(tmp_path / "run")
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image = trained.encoder(images.view(1, 2, 16, 16))
        coded, scores = single(image), single(images)
        rebuilt = trained.decoder.rebuild(scores[None], coded)[0].numpy()
    encoded = code.encode(list(images.numpy()))
    np.testing.assert_allclose(encoded, image.numpy(), atol=1e-4)
    session = open_session(worker_file(tiny.single, model))
    (output,) = session.run(None, {"images": encoded})
    for missing in range(2):
        answer = code.decode(output, [0, 1], {1 - missing: scores[1 - missing].numpy()})[missing]
        np.testing.assert_allclose(answer.scores, rebuilt[missing], atol=1e-3)

    row = assess(tiny.single, [model], tmp_path / "out", dataset=str(patterns))["models"]["tiny-learned"]
    assert (row["code"], row["n"], len(row["per_position"])) == ("learned", 2, 2)
    assert row["accuracy"] > 0.4  # of three classes


def test_both_files_must_be_the_cards(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = make_settings("learned", model={"k": 2}, train={"epochs": 1})
    list(run_training(settings, tmp_path / "run", single=tiny.single))
    model = export_model(tmp_path / "run", tmp_path / "models", single=tiny.single)
    assert model.decoder is not None
    kept = model.decoder.read_bytes()
    model.decoder.write_bytes(kept + b" ")
    with pytest.raises(ModelError, match=r"tiny-learned-decoder\.onnx: not the file that its card describes"):
        load_model(model.path)
    model.decoder.unlink()
    with pytest.raises(ModelError, match=r"tiny-learned-decoder\.onnx: cannot be read"):
        load_model(model.path)
    facts = json.loads(model.path.with_suffix(".json").read_text())
    for change, message in (({"decoder": None}, "decoder belongs to"), ({"k": None}, "k belongs to")):
        model.path.with_suffix(".json").write_text(json.dumps(facts | change))
        with pytest.raises(ModelError, match=message):
            load_model(model.path)


def test_a_single_that_gives_probabilities_cannot_be_learned_around(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    other = replace(tiny.single, card=tiny.single.card.model_copy(update={"output": "probabilities"}))
    with pytest.raises(ModelError, match="a learned code needs a single's logits"):
        next(run_training(make_settings("learned", model={"k": 2}), tmp_path / "run", single=other))
