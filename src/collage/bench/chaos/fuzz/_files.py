"""Files that operators and experimenters write: nearly right ones, and what reads them."""

from __future__ import annotations

import gzip
import io
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from collage.bench._overhead import load_overhead
from collage.bench._settings import load_bench
from collage.bench.chaos.fuzz._mutate import mutated, mutated_tree, random_bytes, toml
from collage.bench.simulated import load_experiment
from collage.serving import load_fleet, load_settings
from collage.simulation import Profile, load_outcomes, load_profile, load_times, load_timestamps
from collage.zoo import load_model

_WORDS = (
    b" = ",
    b"[[",
    b"]]",
    b'"""',
    b"'",
    b"inf",
    b"nan",
    b"1979-05-27T07:32:00Z",
    b"\xff",
    b"{",
    b"[" * 3000,
    b"\r\n",
)


class Reader(NamedTuple):
    """make: a file's content; load: what reads it."""

    make: Callable[[random.Random], bytes]
    load: Callable[[Path], object]
    suffix: str = ".toml"


@cache
def scratch() -> Path:
    """A folder of this process; removed with it."""
    folder = tempfile.TemporaryDirectory(prefix="collage-fuzz-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _toml(tree: dict[str, Any]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        data = toml(mutated_tree(rng, tree)).encode()
        return mutated(rng, data, _WORDS) if rng.random() < 0.3 else data

    return make


def _json(tree: dict[str, Any]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        data = json.dumps(mutated_tree(rng, tree)).encode()
        return mutated(rng, data, _WORDS) if rng.random() < 0.3 else data

    return make


_SERVING = {
    "host": "127.0.0.1",
    "port": 0,
    "grpc_port": "none",
    "workers": 2,
    "policy": "collage",
    "backup": ["a", "b"],
    "max_queue": 5,
    "default_deadline": 1.5,
    "least_agreement": "auto",
    "log_level": "info",
    "tenants": {"a": {"keys": ["0" * 64], "rate": 5.0}},
}
_FLEET = {
    "local": [{"workers": 1, "threads": 1, "roles": ["single"]}],
    "remote": [
        {
            "urls": ["http://127.0.0.1:1/x", "grpc://[::1]:2"],
            "timeout": 1.0,
            "encoding": "auto",
            "headers": {"A": "b"},
            "single": {"model": "m", "version": "1"},
            "tls": {"ca": "x.pem"},
        }
    ],
}
_BENCH = {
    "name": "x",
    "policies": ["none", "hedge"],
    "loads": [0.5],
    "stragglers": ["iid"],
    "workers": 10,
    "blocks": 3,
    "requests": 800,
    "warmup": 200,
    "seed": 1,
    "dataset": "fashion-mnist",
    "times": {"profile": "resnet34-cpu", "scale": 0.15},
}
_OVERHEAD = {"name": "overhead", "single": "a", "backups": ["b"], "rounds": 300, "most": 0.02}
_SIMULATED = {
    "name": "load",
    "title": "t",
    "question": "q",
    "order": 10,
    "queries": 1000,
    "seeds": 2,
    "quick": {"queries": 200, "seeds": 1},
    "full": {"queries": 200, "seeds": 1},
    "scenario": {"workers": 4, "costs": {"collage": {"ratio": 0.8}}, "pauses": {"every": 10.0, "seconds": 0.1}},
    "axes": {"load": [0.1, 0.5], "times.kind": {"a": {"times": {"kind": "lognormal"}}}},
    "policies": [{"preset": "none"}, {"preset": "hedge", "tune": {"budget": [0.05, 0.1]}}, {"preset": "collage"}],
    "figure": {"kind": "lines", "x": "load", "y": ["p99"], "log_y": True},
}
_CHAOS = {
    "name": "x",
    "faults": ["kill-worker"],
    "workers": 4,
    "overload": {"times": 3.0, "queue": 9},
    "soak": {"load": 0.5},
    "fuzz": {"seed": 1},
}
_TRAINING = {
    "model": {"name": "x", "role": "single", "net": {"family": "whitened", "widths": [8, 8], "depth": 2}},
    "preprocessing": {"size": 28, "channels": 1, "mean": [0.3], "std": [0.3]},
    "data": {"dataset": "fashion-mnist", "validation": 50},
    "augment": {"flip": True, "shift": 2},
    "train": {"epochs": 1, "batch": 8},
}
_FACTS = {"size": 28, "mean": [0.3], "std": [0.3], "classes": ["a", "b"], "output": "logits"}
_PREPROCESSING = {"size": 8, "channels": 1, "mean": [0.0], "std": [1.0], "interpolation": "bilinear"}
_CARD = {
    "name": "x",
    "version": "1",
    "role": "collage",
    "file": "x.onnx",
    "sha256": "0" * 64,
    "preprocessing": _PREPROCESSING,
    "classes": ["a", "b"],
    "grid": 3,
    "single_sha256": "1" * 64,
    "accuracy": {"test_images": 10, "accuracy": 0.5, "per_position": [0.5]},
    "cost": {"macs": 5, "params": 6},
}


def _chaos(path: Path) -> object:
    from collage.bench.chaos._settings import load_chaos  # noqa: PLC0415 - which has this room's settings

    return load_chaos(path)


def _training(path: Path) -> object:
    from collage.training import load_training  # noqa: PLC0415 - needs torch

    return load_training(path)


def _facts(path: Path) -> object:
    from collage.training import read_facts  # noqa: PLC0415 - needs torch

    return read_facts(path)


def _classes(path: Path) -> object:
    from collage.training import read_classes  # noqa: PLC0415 - needs torch

    return read_classes(path)


@cache
def _times() -> bytes:
    return b"job,seconds\n" + b"".join(b"%d,%.4f\n" % (n, 0.05 + n % 7 / 100 + (n % 50 == 0)) for n in range(160))


def _csv(rng: random.Random) -> bytes:
    words = (b",", b"nan", b"inf", b"-1", b"1e999", b"\xff\xfe", b"\0", b'"', b"\n\n", b"0x1", b"1_0", b"seconds")
    return mutated(rng, _times(), words)


def _npy(rng: random.Random) -> bytes:
    file = io.BytesIO()
    kind = rng.choice(("f8", "f4", "i8", "U4", "c16", "M8[s]", "?"))
    np.save(file, np.zeros(rng.choice(((9,), (3, 3), (0,), ())), kind))
    data = file.getvalue()
    if rng.random() < 0.2:
        file = io.BytesIO()
        np.savez(file, np.arange(9.0))
        data = file.getvalue()
    words = (b"'<f8'", b"'O'", b"(99999999999,)", b"True", b"PK\x03\x04", b"{'a':", b"(" * 300, b"\x93NUMPY")
    return mutated(rng, data, words)


@cache
def _profile() -> dict[str, Any]:
    times = np.tile([0.05, 0.06, 0.055, 0.5], 50)
    return Profile.fit(times, "x").model_dump(mode="json")


def _make_profile(rng: random.Random) -> bytes:
    return _json(_profile())(rng)


def _outcomes(rng: random.Random) -> bytes:
    rows = b"".join(b"%d,%d,%d,0.5\n" % (n, n % 3, n % 4 - 1) for n in range(12))
    words = (b",", b"-1", b"nan", b"tile", b'"', b"\xff", b"99999999999999999999", b"\n")
    data = gzip.compress(mutated(rng, b"image,label,answer,confidence\n" + rows, words), 1)
    return mutated(rng, data) if rng.random() < 0.3 else data


def _names(rng: random.Random) -> bytes:
    return (
        mutated(rng, b'["a", "b"]', (b"{", b"null", b"\xff", b"[" * 3000)) if rng.random() < 0.9 else random_bytes(rng)
    )


SETTINGS = {"serve": Reader(_toml(_SERVING), load_settings), "fleet": Reader(_toml(_FLEET), load_fleet)}
EXPERIMENTS = {
    "bench": Reader(_toml(_BENCH), load_bench),
    "chaos": Reader(_toml(_CHAOS), _chaos),
    "overhead": Reader(_toml(_OVERHEAD), load_overhead),
    "simulated": Reader(_toml(_SIMULATED), load_experiment),
}
TRAININGS = {
    "classes": Reader(_names, _classes, ".json"),
    "facts": Reader(_json(_FACTS), _facts, ".json"),
    "facts-toml": Reader(_toml(_FACTS), _facts),
    "training": Reader(_toml(_TRAINING), _training),
}
CARDS = {"card": Reader(_json(_CARD), load_model, ".json")}
TRACES = {
    "npy": Reader(_npy, load_times, ".npy"),
    "outcomes": Reader(_outcomes, load_outcomes, ".csv.gz"),
    "profile": Reader(_make_profile, lambda path: load_profile(str(path)), ".json"),
    "times": Reader(_csv, load_times, ".csv"),
    "timestamps": Reader(_csv, load_timestamps, ".csv"),
}
