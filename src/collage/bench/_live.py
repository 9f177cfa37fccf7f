"""The bench itself: one set of worker processes, and turn after turn until every policy has had all of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from collage.bench._images import load_images
from collage.bench._journal import Journal, TurnResult
from collage.bench._links import LinkedEngine
from collage.bench._padding import call_costs
from collage.bench._plan import Turn, turns
from collage.bench._plane import backup_source, load_models
from collage.bench._settings import BenchSettings
from collage.bench._stage import Stage
from collage.bench._turn import beyond_limits, take_turn
from collage.dispatch import Role
from collage.engines import LocalEngine
from collage.exceptions import SettingsError
from collage.zoo import worker_file

# Long enough to see the machine's share, short enough that nobody minds waiting for a refusal.
_CALIBRATION_SECONDS = 5.0
_CALIBRATION_FEWEST = 100


class Step(NamedTuple):
    """How far a run is. Seconds are of planned arrivals. `beyond`: why an attempt at this turn is being left out."""

    turn: Turn
    done: float
    total: float
    beyond: str = ""


OnStep = Callable[[Step], None]


async def run_bench(settings: BenchSettings, journal: Journal, on_step: OnStep = lambda step: None) -> None:
    """Run every turn that the journal does not hold yet; each is added to it as it ends.

    Raises SettingsError where the machine cannot carry the experiment, ModelError and DataMissing for what is missing.
    """
    left = [turn for turn in turns(settings) if turn not in journal.done]
    if not left:
        return
    async with open_stage(settings) as stage:
        if settings.limits.bind:
            calibration = _calibration(settings)
            await _within_limits(_first_turn(calibration), calibration, stage, lambda step: None)
        for turn in left:
            done = sum(planned_seconds(settings, other) for other in journal.done)
            planned = planned_seconds(settings, turn)

            def progress(step: Step, done: float = done, planned: float = planned) -> None:
                on_step(step._replace(done=done + min(step.done, planned)))

            journal.add(await _within_limits(turn, settings, stage, progress))


@asynccontextmanager
async def open_stage(settings: BenchSettings) -> AsyncIterator[Stage]:
    """Load models and images, and start the worker processes, here and elsewhere, each with every model."""
    models = load_models(settings)
    costs = call_costs(settings, models)
    images = load_images(settings.dataset, settings.images, models[Role.SINGLE])
    local = LocalEngine(
        {role: worker_file(models[Role.SINGLE], model) for role, model in models.items()}, settings.workers
    )
    linked = LinkedEngine(models, settings.workers) if "delayed" in settings.stragglers else None
    try:
        await local.start(_Nobody())
        if linked is not None:
            await linked.start(_Nobody())
        yield Stage(models, costs, images, local, linked)
    finally:
        await local.stop()
        if linked is not None:
            await linked.stop()


def planned_seconds(settings: BenchSettings, turn: Turn) -> float:
    """How long the arrivals of a turn take, on average."""
    return (settings.warmup + settings.requests) / settings.rate(*turn.cell)


async def _within_limits(turn: Turn, settings: BenchSettings, stage: Stage, on_step: OnStep) -> TurnResult:
    """A turn that the machine could carry: one that it could not is left out and taken again, a few times."""
    beyond = ""
    for attempt in range(settings.limits.repeats + 1):
        result = await take_turn(
            turn,
            settings,
            stage,
            lambda at: on_step(Step(turn, at, settings.seconds, beyond)),  # noqa: B023
        )
        beyond = beyond_limits(result, settings.limits)
        if not beyond:
            return result.model_copy(update={"attempt": attempt})
    raise SettingsError(
        f"times.scale: {settings.times.scale:g} is too small for this machine: with {turn.policy} at load"
        f" {turn.load:g} {beyond}; raise it, or free the machine"
    )


def _calibration(settings: BenchSettings) -> BenchSettings:
    """A short turn at the highest load, of the policy that may make the most backups: it asks most of the machine."""
    load = max(settings.loads)

    def most(name: str) -> float:
        return settings.policy(name).budget if backup_source(settings, name) else 0.0

    policy = max(settings.policies, key=most)
    count = max(_CALIBRATION_FEWEST, round(settings.rate(settings.stragglers[0], load) * _CALIBRATION_SECONDS))
    changes = {"loads": [load], "policies": [policy], "requests": count, "warmup": 0, "seed": settings.seed + 1}
    return settings.model_copy(update=changes)


def _first_turn(settings: BenchSettings) -> Turn:
    return next(turns(settings))


class _Nobody:
    """Listens before the first turn does."""

    def worker_up(self, worker: str, roles: frozenset[Role], slots: int) -> None: ...

    def worker_down(self, worker: str, why: str) -> None: ...

    def job_completed(self, job: int, output: object, seconds: float) -> None: ...

    def job_failed(self, job: int, why: str) -> None: ...

    def job_freed(self, job: int) -> None: ...
