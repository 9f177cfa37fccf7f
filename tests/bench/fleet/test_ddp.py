"""The study of trainings in several processes: what it runs, keeps and says. Real teams are in tests/training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collage.bench.fleet import Run, load_ddp, run_ddp, summarise_ddp, write_ddp
from collage.exceptions import CollageError

PLAN = """
processes = [1, 2]
seeds = [1, 2]
speed_rounds = 2
[[trainings]]
config = "experiments/fashion-mnist-single.toml"
limit = 4000
epochs = 3
"""


def made(kind: str, processes: int, seed: int) -> Run:
    """Two processes are 0.2 points better, and a quarter faster."""
    accuracy = 0.8 + 0.01 * seed + 0.002 * (processes - 1)
    test = accuracy if kind == "accuracy" else None
    seconds = 10.0 if processes == 1 else 8.0
    return Run("tiny", kind, processes, 2 // processes, seed, accuracy - 0.01, test, 0.5, 3000, seconds, 0.1)


def test_what_is_done_is_not_run_again_and_the_summary_holds_all_to_the_first(tmp_path: Path) -> None:
    config = tmp_path / "ddp.toml"
    config.write_text(PLAN)
    plan = load_ddp(config)
    for kind, processes, seed in [
        (k, p, s + (k == "accuracy")) for k in ("accuracy", "speed") for p in (1, 2) for s in (0, 1)
    ]:
        folder = tmp_path / "runs" / f"fashion-mnist-single-{kind}" / f"{processes}-{seed}"
        folder.mkdir(parents=True)
        (folder / "done.json").write_text(json.dumps(made(kind, processes, seed)._asdict()))
    heard: list[float] = []
    runs = run_ddp(plan, tmp_path / "runs", heard.append)
    assert heard[-1] == 1.0
    assert [(run.kind, run.processes, run.seed) for run in runs] == [
        *[("accuracy", 1, 1), ("accuracy", 2, 1), ("accuracy", 1, 2), ("accuracy", 2, 2)],
        *[("speed", 1, 0), ("speed", 2, 0), ("speed", 2, 1), ("speed", 1, 1)],  # there and back
    ]
    (training,) = summarise_ddp(runs)
    one, two = training["rows"]
    assert one["test_accuracy"] == [0.81, 0.82]
    assert one["points_more"] == {"mean": 0.0, "standard_error": 0.0}
    assert two["points_more"] == {"mean": 0.2, "standard_error": 0.0}
    assert two["mean"] == 0.817
    assert (one["images_a_second"], two["images_a_second"], two["speed"]) == (300.0, 375.0, 1.25)
    found, paths = write_ddp(runs, tmp_path / "out", plan, "collage fleet ddp")
    assert found["trainings"] == [training]
    assert len(paths[0].read_text().splitlines()) == 9
    assert json.loads(paths[1].read_text())["plan"]["seeds"] == [1, 2]


def test_a_training_that_fails_is_said(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: train)")
    training, config = tmp_path / "training.toml", tmp_path / "ddp.toml"
    own = Path("experiments/fashion-mnist-single.toml").read_text("utf-8")
    training.write_text(own.replace('dataset = "fashion-mnist"', 'dataset = "no-such-folder"'))
    config.write_text(PLAN.replace("experiments/fashion-mnist-single.toml", str(training)))
    with pytest.raises(CollageError, match=r"train single .* failed: .*no-such-folder"):
        run_ddp(load_ddp(config), tmp_path / "runs")
