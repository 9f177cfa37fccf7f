"""Which files workers are to load, and how they are called: what the engines that start workers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from collage.dispatch import Role, WorkerId
from collage.engines._base import Submission

Models = Mapping[Role, Path | Mapping[int, Path]]  # a file per role, or several by the queries that their job can hold
Hold = Callable[[WorkerId, Role], float]  # the least time of a job, seconds, drawn for each


def name_workers(workers: int | Mapping[WorkerId, frozenset[Role]], models: Models) -> dict[WorkerId, frozenset[Role]]:
    """The roles of each worker by name: as given, or so many, w0, w1, ..., with all models. Raises ValueError for 0."""
    if isinstance(workers, int):
        workers = {f"w{number}": frozenset(models) for number in range(workers)}
    if not workers:
        raise ValueError("an engine needs at least one worker")
    return dict(workers)


def pick_models(worker: WorkerId, roles: frozenset[Role], models: Models) -> Models:
    """Those of a worker's roles. Raises ValueError for no role, and for one without a model."""
    if not roles or not roles <= models.keys():
        raise ValueError(f"worker {worker} needs roles out of {sorted(models)}, not {sorted(roles)}")
    return {role: models[role] for role in Role if role in roles}


def model_of(job: Submission, numbers: Mapping[tuple[Role, int | None], int], hold: float) -> int:
    """Which of the worker's files, by `number_files`, the job takes. Raises ValueError for what can never run."""
    number = numbers.get((job.role, job.capacity), numbers.get((job.role, None)))
    if number is None:
        raise ValueError(f"worker {job.worker} has no model for a {job.role} of {job.capacity}")
    inputs = job.inputs
    if inputs.dtype != np.float32 or inputs.ndim != 4 or not (hold >= 0 and math.isfinite(hold)):
        raise ValueError(f"inputs must be float32 (n, C, H, W), not {inputs.dtype} {inputs.shape}; hold {hold}")
    return number


def number_files(models: Models) -> tuple[list[Path], dict[tuple[Role, int | None], int]]:
    """Each file once, as roles may share one; and which of them each role and size takes (None: of any size)."""
    files: dict[tuple[Role, int | None], Path] = {}
    for role, given in models.items():
        sizes = {None: given} if isinstance(given, Path) else given
        files |= {(role, size): path for size, path in sizes.items()}
    paths = list(dict.fromkeys(files.values()))
    return paths, {model: paths.index(path) for model, path in files.items()}
