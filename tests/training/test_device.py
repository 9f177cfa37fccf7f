"""Where a training runs: what may be asked for, and on a GPU the same learning as on the processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collage.exceptions import SettingsError

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.training import choose_device, export_model, run_training, train  # noqa: E402
from collage.training._share import Share  # noqa: E402
from collage.training._team import Team  # noqa: E402

pytestmark = pytest.mark.train

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here (CUDA)")


def test_the_processor_may_always_be_asked_for() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["tpu", "meta", "mps", "cuda:99", "cuda:x", ""])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--device {name}: "):
        choose_device(name)


def test_processes_share_no_gpu(make_settings: Callable[..., Any], tmp_path: Path) -> None:
    class Whole:
        size = 8
        steps = 1

    team = Team(Share(0, 2))
    with pytest.raises(SettingsError, match="several processes learn on processors only"):
        next(
            train(
                torch.nn.Linear(1, 1),
                Whole(),  # type: ignore[arg-type]
                make_settings("single"),
                tmp_path,
                device=torch.device("cuda"),
                team=team,
            )
        )
    assert not list(tmp_path.iterdir())


@needs_gpu
@pytest.mark.parametrize("role", ["single", "cheap", "collage", "parity", "learned"])
def test_a_gpu_learns_what_the_processor_does(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, role: str
) -> None:
    model: dict[str, Any] = {"parity": {"k": 2, "encoder": "sum"}, "learned": {"k": 2}}.get(role, {})
    settings = make_settings(role, model=model)
    single = None if role == "single" else tiny.single
    there, here = (
        list(run_training(settings, tmp_path / name, single=single, device=torch.device(name)))
        for name in ("cuda", "cpu")
    )
    # The same batches; rounding differs.
    assert there[0].loss == pytest.approx(here[0].loss, rel=0.05)
    assert there[-1].loss == pytest.approx(here[-1].loss, rel=0.2)
    assert there[-1].best == pytest.approx(here[-1].best, abs=0.15)


@needs_gpu
def test_a_training_goes_on_with_another_device(make_settings: Callable[..., Any], tmp_path: Path) -> None:
    settings = make_settings("single")
    first = run_training(settings, tmp_path, device=torch.device("cuda"))
    assert next(first).epoch == 1
    first.close()
    done = list(run_training(settings, tmp_path, device=torch.device("cpu")))
    assert [progress.epoch for progress in done] == [2, 3, 4]
    assert export_model(tmp_path, tmp_path).card.name == "tiny-single"
