"""From an experiment's lists to the points that are run: every cell, policy, value of a knob, and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from collage.bench.simulated._settings import Experiment, PolicyEntry, Size
from collage.dispatch import Policy, Source, get_policy, worker_roles
from collage.exceptions import SettingsError
from collage.files import first_problem, load_toml
from collage.simulation import Scenario, make_scenario
from collage.zoo import file_sha256

Named = tuple[tuple[str, Any], ...]  # names and values, in the file's order


class Tried(NamedTuple):
    """One policy with one value of its knobs in one cell: a row of the table. Its seeds are pooled."""

    number: int  # its place in the table
    cell: Named
    label: str
    knobs: Named
    entry: int  # which of the experiment's policies
    policy: Policy
    scenario: Scenario
    grid: int | tuple[int, ...]
    k: int

    @property
    def capacity(self) -> int:
        """Queries that one backup can hold; 0 without backups."""
        code = self.policy.code
        if code is None:
            return 0
        return self.largest**2 if code in {Source.COLLAGE, Source.BATCH} else self.k if code.joint else 1

    @property
    def largest(self) -> int:
        """The largest grid that it may use."""
        return self.grid if isinstance(self.grid, int) else max(self.grid)

    def value(self, name: str) -> Any:
        """What an axis, a knob or a dotted key of the scenario is here. None where there is no such thing."""
        for key, value in (*self.cell, *self.knobs):
            if name in {key, key.removeprefix("scenario.")}:
                return value
        found: Any = self.scenario.model_dump(mode="json")
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found


class Point(NamedTuple):
    """One run of the simulator."""

    tried: Tried
    queries: int
    warmup: int
    seed: int

    @property
    def key(self) -> str:
        """A hash of everything that the point's result depends on, its code and what is in its files included."""
        scenario = self.tried.scenario.model_dump(mode="json")
        parts = [
            code_version(),
            self.tried.policy.model_dump_json(),
            json.dumps(scenario),
            *_contents(scenario),
            *map(str, (self.tried.grid, self.tried.k, self.queries, self.warmup, self.seed)),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the simulator's and the dispatcher's files: a result is not taken for one of other code."""
    digest = hashlib.sha256()
    for room in ("dispatch", "simulation"):
        files = (item for item in resources.files(f"collage.{room}").iterdir() if item.name.endswith(".py"))
        for item in sorted(files, key=lambda item: item.name):
            digest.update(item.name.encode() + b"\0" + item.read_bytes())
    return digest.hexdigest()[:16]


def _contents(value: object) -> Iterator[str]:
    """Hashes of the files that a scenario names: outcomes, traces, profiles."""
    match value:
        case dict():
            for part in value.values():
                yield from _contents(part)
        case list():
            for part in value:
                yield from _contents(part)
        case str() if Path(value).is_file():
            yield _content(Path(value), Path(value).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _content(path: Path, changed: int) -> str:
    return file_sha256(path)


def load_experiment(path: Path) -> Experiment:
    """A simulated experiment's file. Raises SettingsError, one line that names the file and the key.

    Every row is made once, so that a value that a policy or the scenario does not take is found before any is run.
    """
    experiment = load_toml(path, Experiment)
    try:
        rows(experiment)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return experiment


def rows(experiment: Experiment) -> list[Tried]:
    """All rows, in the experiment's order. Raises SettingsError that names the key."""
    found: list[Tried] = []
    for cell, changes in _cells(experiment):
        for at, entry in enumerate(experiment.policies):
            for knobs in _knobs(entry):
                found.append(_tried(experiment, _Place(len(found), at, cell, knobs), changes))
    return found


def points(experiment: Experiment, size: Size) -> list[Point]:
    """All points in the order they are run: seeds outermost, so that a run that was stopped has every row."""
    tried = rows(experiment)
    warmup = min(experiment.warmup, size.queries)
    return [Point(row, size.queries, warmup, seed) for seed in range(1, size.seeds + 1) for row in tried]


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with changes by dotted key: {"times.scale": 2} changes the scale in the table `times`.

    Tables on the way that are absent are made.
    """
    copy: dict[str, Any] = deepcopy(dict(base))
    for key, value in changes.items():
        *way, last = key.split(".")
        table = copy
        for part in way:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[last] = deepcopy(value)
    return copy


def _base(experiment: Experiment) -> dict[str, Any]:
    """What all cells share. A part that does not say which kind it is, is of the usual one."""
    base = dict(experiment.scenario)
    for name, field in Scenario.model_fields.items():
        if isinstance(field.default, BaseModel):
            given = base.get(name, {})
            if isinstance(given, dict) and "kind" not in given:
                base[name] = field.default.model_dump() | given
    return base


def _cells(experiment: Experiment) -> Iterator[tuple[Named, dict[str, Any]]]:
    """Each cell's name, and what it changes in the scenario."""
    options: list[list[tuple[tuple[str, Any], dict[str, Any]]]] = []
    for axis, values in experiment.axes.items():
        if isinstance(values, list):
            options.append([((axis, value), {axis: value}) for value in values])
        else:
            options.append([((axis, _shown(name)), changes) for name, changes in values.items()])
    for chosen in product(*options):
        merged: dict[str, Any] = {}
        for _, changes in chosen:
            merged |= changes
        yield tuple(name for name, _ in chosen), merged


def _shown(name: str) -> float | str:
    """A name in a table of values: a number where it reads as one, so that it has a place on an axis."""
    try:
        return float(name)
    except ValueError:
        return name


def _knobs(entry: PolicyEntry) -> Iterator[Named]:
    knobs = entry.sweep or entry.tune
    for values in product(*knobs.values()):
        yield tuple(zip(knobs, values, strict=True))


class _Place(NamedTuple):
    """Where a row is: its number, its policy's, its cell, its knobs' values."""

    number: int
    entry: int
    cell: Named
    knobs: Named


def _tried(experiment: Experiment, place: _Place, changes: dict[str, Any]) -> Tried:
    """One row. Raises SettingsError that names the key, the policy and the cell."""
    entry, cell, knobs = experiment.policies[place.entry], place.cell, place.knobs
    shape = {"grid": entry.grid, "k": entry.k}
    shape |= {key: value for key, value in (*changes.items(), *knobs) if key in _SHAPE}
    changes = {key: value for key, value in changes.items() if key not in _SHAPE}
    beyond = {key.removeprefix("scenario."): value for key, value in knobs if key.startswith("scenario.")}
    own = {key: value for key, value in knobs if key not in _SHAPE and not key.startswith("scenario.")}
    said = f"policies.{place.entry}"
    where = "".join(f", {name} = {value}" for name, value in (*cell, *knobs))
    try:
        shaped = PolicyEntry.model_validate({"preset": entry.preset, **shape})  # what a knob may be
        policy = get_policy(entry.preset, **(entry.settings | own))
        scenario = make_scenario(changed(_base(experiment), changes | entry.scenario | beyond))
        scenario = _with_workers(scenario, entry.workers)
        worker_roles(policy, [f"w{index}" for index in range(scenario.workers)])
    except ValidationError as error:
        raise SettingsError(f"{said}: {first_problem(error)}{where}") from None
    except SettingsError as error:
        raise SettingsError(f"{error} (with {said}{where})") from None
    return Tried(place.number, cell, entry.name, knobs, place.entry, policy, scenario, shaped.grid, shaped.k)


_SHAPE = ("grid", "k")


def _with_workers(scenario: Scenario, more: str) -> Scenario:
    """The same arrivals with more workers: +1, or x2 as many. An open load is kept as a rate, not as a share."""
    if not more:
        return scenario
    by, number = more[0], int(more[1:])
    workers = scenario.workers + number if by == "+" else scenario.workers * number
    load = None if scenario.load is None else scenario.load * scenario.workers / workers
    return scenario.changed(workers=workers, load=load)
