"""Train, export, evaluate: the commands, one after another, as a user gives them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.cli import _accuracy, _evaluate, _export, _quantise, _train  # noqa: E402
from collage.exceptions import ModelError, SettingsError  # noqa: E402
from collage.zoo import load_model  # noqa: E402

pytestmark = pytest.mark.train

CIFAR = Path(os.environ.get("COLLAGE_DATA", "../shared/data")).absolute() / "cifar10-jpeg.tar.xz"

SINGLE = """
[model]
name = "small-single"
role = "single"
net = {{ family = "residual", stem = 8, widths = [16], blocks = [1] }}

[preprocessing]
size = {side}
channels = {channels}
mean = {mean}
std = {std}

[data]
dataset = "{dataset}"
validation = 24

[augment]
shift = 1
erase = 0

[train]
epochs = 3
batch = 16
bfloat16 = false
"""
COLLAGE = (
    SINGLE.replace("small-single", "small-collage")
    .replace('role = "single"', 'role = "collage"\ngrid = 2')
    .replace('family = "residual", stem = 8, widths = [16], blocks = [1]', 'family = "collage", stem = 8, width = 16')
    .replace("batch = 16", "batch = 4")
    + "\n[distill]\nviews = 1\n"
)

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in an empty folder; what it raises comes through."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(pretty_exceptions_enable=False)
    for module in (_train, _export, _evaluate, _accuracy, _quantise):
        module.register(app)
    threads = torch.get_num_threads()

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        torch.set_num_threads(threads)
        return result

    return run


def write_experiments(dataset: str, side: int, channels: int) -> None:
    Path("experiments").mkdir()
    facts = {"side": side, "channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels, "dataset": dataset}
    Path("experiments/small-single.toml").write_text(SINGLE.format(**facts))
    Path("experiments/small-collage.toml").write_text(COLLAGE.format(**facts))


def train_both(command: Command, *options: object) -> None:
    """Leaves models/small-single.onnx and models/small-collage.onnx."""
    for role, teacher in (("single", []), ("collage", ["--single", "models/small-single.onnx"])):
        name = f"small-{role}"
        trained = command("train", role, "-c", f"experiments/{name}.toml", "--threads", 1, *teacher, *options)
        assert trained.exit_code == 0, trained.output
        assert f"runs/{name}: trained" in trained.output
        exported = command("export", f"runs/{name}", "--out", "models", *teacher)
        assert exported.exit_code == 0, exported.output
        assert f"models/{name}.onnx: " in exported.output


def test_a_folder_of_images_becomes_two_models(command: Command, patterns: Path) -> None:
    write_experiments(str(patterns), 16, 1)
    train_both(command, "--epochs", 4)
    evaluated = command(
        "evaluate", "models/small-single.onnx", "--backup", "models/small-collage.json",
        "--dataset", patterns, "--out", "out", "--update-cards",
    )  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.output
    summary = json.loads(Path("out/summary.json").read_text())["models"]
    for name in ("small-single", "small-collage"):
        card = load_model(f"models/{name}.onnx").card
        assert card.accuracy is not None
        assert card.accuracy.accuracy == summary[name]["accuracy"]
        assert f"{card.accuracy.accuracy:.2%}" in evaluated.output
        assert card.command.startswith(f"collage train {card.role.value} --config experiments/{name}.toml")
        assert " --epochs 4" in card.command
        assert str(patterns) not in card.model_dump_json()
    backup = load_model("models/small-collage.onnx").card
    assert backup.cost is not None
    assert backup.cost.latency_ratio == pytest.approx(summary["small-collage"]["latency_ratio"]["median"], abs=1e-3)
    assert backup.command.endswith("export runs/small-collage --out models --single small-single")

    made = command("quantise", "models/small-collage.onnx", "--out", "models", "--dataset", patterns, "--images", 40)
    assert made.exit_code == 0, made.output
    assert "models/small-collage-int8.onnx: " in made.output
    table = command("accuracy", "--models", "models", "--dataset", patterns)
    assert table.exit_code == 0, table.output
    rows = {row["model"]: row for row in json.loads(Path("results/accuracy.json").read_text())}
    assert sorted(rows) == ["small-collage", "small-collage-int8", "small-single"]
    assert all(name in table.output for name in rows)
    assert rows["small-collage"]["a_d"] == summary["small-collage"]["accuracy"]
    assert rows["small-collage-int8"]["macs"] == rows["small-collage"]["macs"]
    with pytest.raises(ModelError, match="no model in it"):
        command("accuracy", "--models", "models", "--seeds", "experiments")


def test_a_training_without_its_file_is_exported_and_says_so(command: Command, patterns: Path) -> None:
    write_experiments(str(patterns), 16, 1)
    command("train", "single", "-c", "experiments/small-single.toml", "--threads", 1, "--epochs", 1, "--limit", 60)
    path = Path("experiments/small-single.toml")
    path.write_text(path.read_text().replace("batch = 16", "batch = 8"))
    exported = command("export", "runs/small-single", "--out", "models")
    assert exported.exit_code == 0
    assert "does not describe this training" in exported.output
    assert load_model("models/small-single.onnx").card.command == ""


def test_a_single_that_learns_from_another(command: Command, patterns: Path) -> None:
    write_experiments(str(patterns), 16, 1)
    train_both(command, "--epochs", 2)
    file = Path("experiments/small-student.toml")
    text = Path("experiments/small-single.toml").read_text().replace("small-single", "small-student")
    file.write_text(text.replace("[train]", "[distill]\nviews = 2\n\n[train]"))
    trained = command("train", "single", "-c", file, "--epochs", 2, "--teacher", "models/small-single.onnx")
    assert trained.exit_code == 0, trained.output
    exported = command("export", "runs/small-student", "--out", "models")
    assert exported.exit_code == 0, exported.output
    card = load_model("models/small-student.onnx").card
    assert card.single_sha256 is None
    first, second = card.command.split(" && ")
    assert first == f"collage train single --config {file} --teacher TEACHER --epochs 2"
    assert second == "collage export runs/small-student --out models"


def test_a_training_that_begins_with_another(command: Command, patterns: Path) -> None:
    write_experiments(str(patterns), 16, 1)
    file = "experiments/small-single.toml"
    command("train", "single", "-c", file, "--epochs", 1, "--limit", 60, "--out", "runs/first")
    more = ("--epochs", 1, "--limit", 60, "--start", "runs/first")
    assert command("train", "single", "-c", file, *more).exit_code == 0
    assert command("export", "runs/small-single", "--out", "models").exit_code == 0
    first, _ = load_model("models/small-single.onnx").card.command.split(" && ")
    assert first == f"collage train single --config {file} --epochs 1 --limit 60 --start runs/first"


def test_mistakes_are_named(command: Command, patterns: Path) -> None:
    write_experiments(str(patterns), 16, 1)
    with pytest.raises(SettingsError, match=r"model\.role is single, and the command asks for collage"):
        command("train", "collage", "-c", "experiments/small-single.toml")
    with pytest.raises(ModelError, match="learns from a single"):
        command("train", "collage", "-c", "experiments/small-collage.toml")
    with pytest.raises(SettingsError, match="--device tpu: say cpu, cuda or cuda:N"):
        command("train", "single", "-c", "experiments/small-single.toml", "--device", "tpu")
    with pytest.raises(SettingsError, match="--device cuda:99: torch finds"):
        command("train", "single", "-c", "experiments/small-single.toml", "--device", "cuda:99")
    with pytest.raises(ModelError, match=r"no checkpoint\.pt"):
        command("export", "experiments", "--out", "models")
    with pytest.raises(ModelError, match="no model of that name"):
        command("evaluate", "none")


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"no {CIFAR.name}; COLLAGE_DATA names its folder")
def test_cifar_10_trains_by_the_same_commands(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_DATA", str(CIFAR.parent))
    write_experiments("cifar-10", 32, 3)
    train_both(command, "--limit", 400, "--epochs", 2)
    evaluated = command("evaluate", "models/small-single.onnx", "--backup", "models/small-collage.onnx", "--limit", 50)
    assert evaluated.exit_code == 0, evaluated.output
    summary = json.loads(Path("results/accuracy/small-single/summary.json").read_text())
    assert summary["dataset"] == "cifar-10"
    assert [row["test_images"] for row in summary["models"].values()] == [50, 50]
