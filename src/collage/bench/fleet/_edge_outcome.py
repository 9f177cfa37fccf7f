"""What cameras got, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collage.bench.fleet._edge_models import Shows
    from collage.bench.fleet._edge_plan import EdgePlan, Way
    from collage.bench.fleet._edge_sim import EdgeRun


class Asked(NamedTuple):
    """One image. seconds: until its answer, or the word that there is none; source: None without an answer."""

    seconds: float
    source: str | None
    right: bool


def edge_row(plan: EdgePlan, way: Way, shows: Shows, run: EdgeRun, *, megabits: float, how: str) -> dict[str, Any]:
    """One run. Bytes are of the link, for each image; joules for 1,000 images, answered or not."""
    asked = run.asked
    count = len(asked)
    answered = [each for each in asked if each.source is not None]
    power, thousands = plan.power, count / 1000
    radio = (
        run.up * 8e-6 * power.up_joule_per_megabit
        + run.down * 8e-6 * power.down_joule_per_megabit
        + run.sending_seconds * power.radio_watts
    )
    cpu = None if run.edge_cpu_seconds is None else run.edge_cpu_seconds * power.edge_watts
    server = (run.fulls * shows.single_seconds + run.canvases * shows.collage_seconds) * power.server_watts
    return {
        "how": how,
        "up_mbit": megabits,
        "way": way.name,
        "images": count,
        "bytes_up": round(run.up / count),
        "bytes_down": round(run.down / count),
        "full_images_sent": round(run.fulls / count, 4),
        "collages_sent": round(run.canvases / count, 4),
        "p50_ms": _milliseconds(answered, 0.5),
        "p99_ms": _milliseconds(answered, 0.99),
        "by_single": _share(each.source == "single" for each in asked),
        "by_collage": _share(each.source == "collage" for each in asked),
        "without_answer": _share(each.source is None for each in asked),
        "a_o": None if not answered else round(sum(each.right for each in answered) / len(answered), 4),
        "a_a": round(sum(photo.right for photo in shows.photos[:count]) / count, 4),
        "radio_joule": round(radio / thousands, 1),
        "edge_joule": None if cpu is None else round(cpu / thousands, 1),
        "server_joule": round(server / thousands, 1),
    }


def _milliseconds(asked: Sequence[Asked], quantile: float) -> float | None:
    return round(float(np.quantile([each.seconds for each in asked], quantile)) * 1e3, 1) if asked else None


def _share(found: Iterable[bool]) -> float:
    each = list(found)
    return round(sum(each) / len(each), 4)
