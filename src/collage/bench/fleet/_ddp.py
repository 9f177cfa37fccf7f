"""One process against several that train the same net: what they learn, and how fast, in real trainings."""

from __future__ import annotations

import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from collage.bench._machine import cores, describe_machine
from collage.data import load_pixels, open_dataset
from collage.exceptions import CollageError
from collage.files import load_toml

Told = Callable[[float], None]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DdpTraining(_Section):
    """A training that is compared."""

    config: Path
    single: str | None = Field(default=None, description="that teaches a backup")
    limit: int = Field(ge=4, description="training and validation images")
    epochs: int = Field(ge=2)


class DdpPlan(_Section):
    """The file of the study."""

    trainings: tuple[DdpTraining, ...] = Field(min_length=1)
    processes: tuple[int, ...] = Field(default=(1, 2), min_length=2, description="the first is what others are held to")
    seeds: tuple[int, ...] = Field(min_length=2)
    speed_rounds: int = Field(default=3, ge=1, description="timed trainings of each kind, the kinds in turn")
    speed_epochs: int = Field(default=2, ge=2, description="of each; the first is not counted")


class Run(NamedTuple):
    """One training. seconds: of an epoch, in the median; the first, which warms up, is left out."""

    training: str
    kind: str  # accuracy or speed
    processes: int
    threads: int  # of each
    seed: int  # or the round
    validation: float
    test: float | None  # accuracy; None of a timed one
    loss: float
    images: int  # of an epoch
    seconds: float
    load_before: float  # runnable processes of the machine in the minute before it began; the study's own count, too


def load_ddp(path: Path) -> DdpPlan:
    """Read the study's file. Raises SettingsError, naming the key, for a file that is absent or wrong."""
    return load_toml(path, DdpPlan)


def run_ddp(plan: DdpPlan, work: Path, told: Told = lambda share: None) -> list[Run]:
    """All runs; those that `work` has are not run again. told: the share done, 0..1.

    Raises CollageError where a training fails.
    """
    runs: list[Run] = []
    wanted = list(_wanted(plan))
    for number, (training, kind, processes, seed) in enumerate(wanted):
        folder = work / f"{training.config.stem}-{kind}" / f"{processes}-{seed}"
        done = folder / "done.json"
        if not done.exists():
            epochs = training.epochs if kind == "accuracy" else plan.speed_epochs
            run = _train(training, kind, processes, seed=seed, epochs=epochs, folder=folder)
            done.write_text(json.dumps(run._asdict()))
        runs.append(Run(**json.loads(done.read_text())))
        told((number + 1) / len(wanted))
    return runs


def _wanted(plan: DdpPlan) -> Iterator[tuple[DdpTraining, str, int, int]]:
    for training in plan.trainings:
        for seed in plan.seeds:
            for processes in plan.processes:
                yield training, "accuracy", processes, seed
        for number in range(plan.speed_rounds):  # there and back: what drifts hits all alike
            for processes in plan.processes if number % 2 == 0 else reversed(plan.processes):
                yield training, "speed", processes, number


def _train(training: DdpTraining, kind: str, processes: int, *, seed: int, epochs: int, folder: Path) -> Run:
    from collage.training import change_training, load_training  # noqa: PLC0415 - needs torch, which is an extra

    threads = max(1, cores() // processes)
    settings = load_training(training.config)
    changed = change_training(settings, limit=training.limit)
    command = [sys.executable, "-m", "collage.cli", "train", settings.model.role.value]
    command += ["--config", str(training.config), "--out", str(folder), "--limit", str(training.limit)]
    command += ["--epochs", str(epochs), "--seed", str(seed), "--processes", str(processes), "--threads", str(threads)]
    command += ["--single", training.single] if training.single else []
    folder.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CollageError(f"{shlex.join(command[1:])} failed: {ended.stderr.strip().splitlines()[-1:]}")
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Run(
        settings.model.name, kind, processes, threads, seed,
        validation=float(rows[-1]["accuracy"]),
        test=_test_accuracy(folder) if kind == "accuracy" else None,
        loss=float(rows[-1]["loss"]),
        images=training.limit - changed.data.validation,
        seconds=statistics.median(float(row["seconds"]) for row in rows[1:]),
        load_before=load,
    )  # fmt: skip


def _test_accuracy(folder: Path) -> float:
    """Of the averaged weights on all test images: a single's, or a collage's with every tile filled."""
    import torch  # noqa: PLC0415 - an extra

    from collage.training import CollageTask, SingleTask, Teacher, Views, load_net  # noqa: PLC0415

    settings, net, _ = load_net(folder)
    images = load_pixels(open_dataset(settings.data.dataset), "test", settings.preprocessing)
    if settings.model.grid is None:
        return SingleTask(images, images, settings).validate(net)
    none = torch.zeros(0, dtype=torch.int64)
    teacher = Teacher(Views(none.bool(), none, none), torch.zeros(0, 1, 1), 1)  # is not asked
    return CollageTask(images, images, settings, teacher).validate(net)


def summarise_ddp(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """By training: accuracy and speed of each number of processes, and how far they are from the first's."""
    found = []
    for name in dict.fromkeys(run.training for run in runs):
        mine = [run for run in runs if run.training == name]
        counts = list(dict.fromkeys(run.processes for run in mine))
        base = _tests(mine, counts[0])
        rows: list[dict[str, Any]] = []
        for count in counts:
            tests = _tests(mine, count)
            timed = [run for run in mine if run.kind == "speed" and run.processes == count]
            rows.append(
                {
                    "processes": count,
                    "threads": timed[0].threads,
                    "test_accuracy": [round(test, 4) for test in tests.values()],
                    "mean": round(statistics.mean(tests.values()), 4),
                    "std": round(statistics.stdev(tests.values()), 4),
                    "points_more": _spread([100 * (test - base[seed]) for seed, test in tests.items()]),
                    "seconds_an_epoch": [round(run.seconds, 2) for run in timed],
                    "images_a_second": round(mine[0].images / statistics.median(run.seconds for run in timed), 1),
                    "load_before": [round(run.load_before, 2) for run in timed],
                }
            )
        for row in rows:
            row["speed"] = round(row["images_a_second"] / rows[0]["images_a_second"], 3)
        found.append({"training": name, "images": mine[0].images, "seeds": len(base), "rows": rows})
    return found


def _tests(runs: Sequence[Run], processes: int) -> dict[int, float]:
    """Test accuracies by seed."""
    return {run.seed: run.test for run in runs if run.test is not None and run.processes == processes}


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Mean of differences of pairs, and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return {"mean": round(statistics.mean(values), 3), "standard_error": round(error, 3)}


def write_ddp(runs: Sequence[Run], folder: Path, plan: DdpPlan, command: str) -> tuple[dict[str, Any], list[Path]]:
    """runs.csv and ddp.json; returns what `fleet.json` has of it, too."""
    folder.mkdir(parents=True, exist_ok=True)
    table, numbers = folder / "runs.csv", folder / "ddp.json"
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Run._fields)
        writer.writerows([f"{value:.4f}" if isinstance(value, float) else value for value in run] for run in runs)
    found = {"trainings": summarise_ddp(runs), "command": command, "machine": describe_machine()}
    numbers.write_text(json.dumps(found | {"plan": plan.model_dump(mode="json")}, indent=1) + "\n")
    return found, [table, numbers]
