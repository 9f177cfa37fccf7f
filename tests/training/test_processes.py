"""Several processes that train one net: real ones, started as users start them."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.data import load_pixels, open_dataset  # noqa: E402
from collage.exceptions import SettingsError  # noqa: E402
from collage.nets import LearnedNet  # noqa: E402
from collage.training import (  # noqa: E402
    CollageTask,
    LearnedTask,
    ParityTask,
    Share,
    SingleTask,
    Stop,
    Team,
    ask_single,
    make_net,
    train,
)
from collage.training._checkpoint import Place, resume, save  # noqa: E402
from collage.training._run import _as_net  # noqa: E402
from collage.training._single import to_planes  # noqa: E402
from collage.training._teacher import plain_answers  # noqa: E402

pytestmark = pytest.mark.train

HERE = Path(__file__).parent
MODELS: dict[str, dict[str, Any]] = {"parity": {"k": 2, "encoder": "sum"}, "learned": {"k": 2}}
TOML = """
[model]
name = "tiny"
role = "single"
net = { family = "residual", stem = 8, widths = [16], blocks = [1] }
[preprocessing]
size = 16
channels = 1
mean = [0.4]
std = [0.3]
[data]
dataset = "DATASET"
validation = 24
[augment]
shift = 1
[train]
epochs = EPOCHS
batch = 6
ema = 0.9
bfloat16 = false
"""


def make_task(role: str, tiny: Any, make_settings: Callable[..., Any], folder: Path) -> tuple[Any, Any, Any]:
    """A task of a role, its net and its settings; 70 images to learn from, and as many to validate."""
    settings = make_settings(
        role, model={**MODELS.get(role, {})}, train={"batch": 7, "epochs": 4}, augment={"erase": 4}
    )
    images = load_pixels(open_dataset(settings.data.dataset), "train", settings.preprocessing, limit=70)
    torch.manual_seed(0)
    net = make_net(settings, 3)
    if role == "single":
        return SingleTask(images, images, settings), net, settings
    planes = to_planes(images)
    teacher = ask_single(tiny.single, planes, settings.augment, settings.distill, cache=folder / "answers.pt", seed=0)
    if role == "collage":
        return CollageTask(images, images, settings, teacher), net, settings
    answers = plain_answers(tiny.single, planes, folder)
    if role == "parity":
        return ParityTask(images, images, settings, teacher, answers), net, settings
    assert isinstance(net, LearnedNet)
    net.around(_as_net(tiny.single))
    return LearnedTask(images, images, settings, teacher, answers=answers, net=net), net, settings


@pytest.mark.parametrize("role", ["single", "collage", "parity", "learned"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_parts_of_all_processes_are_the_whole_batch(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, role: str, count: int
) -> None:
    whole, net, _ = make_task(role, tiny, make_settings, tmp_path)
    shares = [Share(rank, count) for rank in range(count)]
    made_for = [make_task(role, tiny, make_settings, tmp_path) for _ in shares]
    parts = [task for task, *_ in made_for]
    generators = [torch.Generator().manual_seed(3) for _ in range(count + 1)]
    for each in (net, *(other for _, other, _ in made_for)):  # whose decoder is a part of a learned code's loss
        each.eval()
    for _ in range(whole.steps + 2):  # over an epoch's border
        inputs, loss_of = whole.batch(generators[-1])
        assert len(inputs) == whole.size == 7
        made = [task.batch(*pair) for task, *pair in zip(parts, generators[:-1], shares, strict=True)]
        assert torch.equal(torch.cat([part for part, _ in made]), inputs)
        with torch.no_grad():
            loss = sum(share.weight(7) * of(net(part)) for share, (part, of) in zip(shares, made, strict=True))
            assert loss == pytest.approx(float(loss_of(net(inputs))), rel=1e-4)
    assert all(torch.equal(generators[-1].get_state(), other.get_state()) for other in generators)
    scores = [whole.validate(net, share) for share in shares]
    assert sum(scores) == pytest.approx(whole.validate(net), abs=1e-9)


@pytest.mark.parametrize("role", ["single", "collage", "parity", "learned"])
def test_a_stop_within_an_epoch_changes_nothing(
    tiny: Any, make_settings: Callable[..., Any], tmp_path: Path, role: str
) -> None:
    task, net, settings = make_task(role, tiny, make_settings, tmp_path)
    unbroken = list(train(net, task, settings, tmp_path / "unbroken"))

    done = []
    for stops_at in (2, 1, 1000):  # steps after which a signal comes, of an epoch of 2 (collage) to 10 steps
        task, net, settings = make_task(role, tiny, make_settings, tmp_path)
        stop, batch = Stop(), task.batch
        steps = iter(range(stops_at))

        def signalled(*given: Any, stop: Stop = stop, batch: Any = batch, steps: Any = steps) -> Any:
            if next(steps, None) is None:
                stop.signal = signal.SIGTERM
            return batch(*given)

        task.batch = signalled
        done += list(train(net, task, settings, tmp_path / "broken", stop=stop))
        assert stop.stopped == (stops_at < 1000)
    assert [(p.epoch, p.loss, p.accuracy) for p in done] == [(p.epoch, p.loss, p.accuracy) for p in unbroken]
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("unbroken", "broken"))
    assert all(torch.equal(one["average"][key], other["average"][key]) for key in one["average"])


def test_two_processes_learn_what_one_does(patterns: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("linear_team", HERE / "linear_team.py")
    assert spec is not None
    assert spec.loader is not None
    linear = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(linear)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(HERE / "linear_team.py"), str(patterns), str(tmp_path / "two")]
    two = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment())
    linear.run(str(patterns), tmp_path / "one", Team())
    said, _ = two.communicate()
    assert two.returncode == 0, said
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("one", "two"))
    for part in ("net", "average"):
        assert all(torch.allclose(one[part][key], other[part][key], atol=1e-5) for key in one[part])
    assert torch.equal(one["generator"], other["generator"])
    rows = [_rows(tmp_path / name / "log.csv") for name in ("one", "two")]
    assert [row["epoch"] for row in rows[1]] == ["1", "2", "3"]  # only one of them writes
    for own, its in zip(*rows, strict=True):
        assert float(own["loss"]) == pytest.approx(float(its["loss"]), rel=1e-4)
        assert float(own["accuracy"]) == pytest.approx(float(its["accuracy"]), abs=1 / 144 + 1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_process_goes_on_with_its_own_random_numbers(tmp_path: Path, count: int) -> None:
    """Dropout's. Of two that stopped, a third has none, and gets some that are nobody else's."""
    states = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        states.append(torch.get_rng_state())

    class Two(Team):
        """All states, as they would be gathered."""

        def gather(self, state: Any) -> Any:
            return torch.stack(states)

    generator = torch.Generator().manual_seed(1)
    save(tmp_path / "checkpoint.pt", {}, generator, Place(3, 0.5, step=2), Two(Share(0, 2)))
    found = []
    for rank in range(count):
        torch.manual_seed(7)
        place = resume(tmp_path / "checkpoint.pt", {}, torch.Generator(), Team(Share(rank, count)))
        assert (place.epoch, place.best, place.step) == (3, 0.5, 2)
        found.append(torch.get_rng_state())
    assert all(torch.equal(*pair) for pair in zip(found[:2], states, strict=False))
    assert len({state.numpy().tobytes() for state in found}) == count


def test_two_stop_together_and_two_or_one_go_on(patterns: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "tiny.toml", tmp_path / "run"
    config.write_text(TOML.replace("DATASET", str(patterns)).replace("EPOCHS", "60"))
    epochs = [0]
    for _ in range(2):  # the second time it goes on as two
        both = _start(config, out, "--processes", "2", "--threads", "1")
        _read_until(both, f"epoch {epochs[-1] + 2:4d}/")
        both.send_signal(signal.SIGTERM)
        _, errors = both.communicate()
        assert both.returncode == 128 + signal.SIGTERM
        assert errors == f"stopped; the same command goes on from {out}\n"
        saved = torch.load(out / "checkpoint.pt", weights_only=True)
        assert epochs[-1] + 2 <= saved["epoch"] < 60
        assert len(saved["torch_of_others"]) == 1
        epochs.append(saved["epoch"])

    last = _start(config, out, "--threads", "1")
    said, errors = last.communicate()
    assert last.returncode == 0, errors
    assert f"epoch {saved['epoch'] + 1:4d}/" in said
    rows = _rows(out / "log.csv")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 61)]
    assert float(rows[-1]["accuracy"]) > 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_process_ends_the_others_with_one_line(patterns: Path, tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TOML.replace("DATASET", str(patterns)).replace("EPOCHS", "100000"))
    training = _start(config, tmp_path / "run", "--processes", "2", "--threads", "1")
    _read_until(training, "epoch    1/")
    children = [int(pid) for pid in Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()]
    ranks = {_rank(pid): pid for pid in children}
    assert sorted(ranks) == ["0", "1"]
    os.kill(ranks["1"], signal.SIGKILL)
    _, errors = training.communicate()
    assert training.returncode == 2
    assert errors == (
        "collage: process 1 of 2 was killed (SIGKILL), and the others have ended; the same command goes on from the"
        " last checkpoint\n"
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_batch_needs_an_input_for_every_process(tiny: Any, make_settings: Callable[..., Any], tmp_path: Path) -> None:
    task, net, settings = make_task("single", tiny, make_settings, tmp_path)
    with pytest.raises(SettingsError, match=r"train.batch: 7 inputs are too few for 8 processes"):
        next(train(net, task, settings, tmp_path / "run", team=Team(Share(0, 8))))


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def _start(config: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "collage.cli", "train", "single", "--config", str(config), "--out", str(out)]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )


def _read_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    pytest.fail(f"ended without {start!r}: {process.communicate()[1]}")


def _rank(pid: int) -> str:
    variables = dict(part.split("=", 1) for part in Path(f"/proc/{pid}/environ").read_text().split("\0") if part)
    return variables["RANK"]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
