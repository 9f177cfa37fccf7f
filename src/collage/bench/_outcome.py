"""From a journal to everything that a bench leaves behind, conditions included."""

from __future__ import annotations

from pathlib import Path

from collage.bench._images import describe_images
from collage.bench._journal import Journal, TurnResult
from collage.bench._machine import describe_machine
from collage.bench._padding import call_costs
from collage.bench._plan import turns
from collage.bench._plane import load_models
from collage.bench._report import write_report
from collage.bench._settings import BenchSettings
from collage.bench._summary import Row, summarise
from collage.dispatch import Role
from collage.engines import LocalEngine
from collage.exceptions import SettingsError


def report_bench(
    settings: BenchSettings, journal: Journal, folder: Path, *, command: str
) -> tuple[list[Row], list[Path]]:
    """Write the report of the journal's turns into `folder`; gives its rows and files.

    Raises SettingsError where no turn has finished yet.
    """
    results = [journal.done[turn] for turn in turns(settings) if turn in journal.done]
    if not results:
        raise SettingsError(f"{journal.path}: no turn has finished yet, so there is nothing to report")
    models = load_models(settings)
    collage = models.get(Role.COLLAGE)
    rows = summarise(
        settings,
        results,
        grid=collage.card.grid if collage else None,
        capacities={role: model.card.capacity for role, model in models.items()},
        cancel=LocalEngine.cancel_effect.value,
    )
    return rows, write_report(folder, settings, results, rows, _conditions(settings, results, command))


def _conditions(settings: BenchSettings, results: list[TurnResult], command: str) -> dict[str, object]:
    models = load_models(settings)
    shares = [result.cpu_share for result in results if result.cpu_share is not None]
    jobs = sum(result.jobs for result in results)
    return {
        "command": command,
        "machine": describe_machine(),
        "experiment": settings.model_dump(mode="json"),
        "models": {role.value: {"name": m.card.name, "sha256": m.card.sha256} for role, m in models.items()},
        "images": describe_images(settings.dataset, settings.images, models[Role.SINGLE]),
        "times": {
            straggler: {"mean_seconds": settings.service_times(straggler).mean} for straggler in settings.stragglers
        },
        "call_costs": {
            role.value: {"ratio": cost.ratio, "overhead_seconds": cost.overhead}
            for role, cost in call_costs(settings, models).items()
        },
        "measured": {
            "turns": len(results),
            "turns_taken_again": sum(result.attempt for result in results),
            "seconds": sum(result.seconds for result in results),
            "cpu_share_mean": sum(shares) / len(shares) if shares else None,
            "cpu_share_highest": max(shares, default=None),
            "jobs": jobs,
            "overrun_share": sum(result.overruns for result in results) / max(1, jobs),
            "lateness_p99_highest": max(result.lateness_p99 for result in results),
            "failed_requests": sum(result.failed for result in results),
        },
    }
