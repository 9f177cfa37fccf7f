"""What came of it: results/chaos.json, a table of every figure, and a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from matplotlib.figure import Figure

from collage.bench._machine import describe_machine
from collage.bench.chaos._faults import FAULTS
from collage.bench.chaos._journal import ChaosJournal
from collage.bench.chaos._run import FaultResult
from collage.bench.chaos._settings import ChaosSettings
from collage.bench.chaos.fuzz import FuzzResult, fuzz_plan, summed

_PARTS = ("faults", "overload", "soak", "fuzz")
_COLUMNS = (
    "fault",
    "requests",
    "lost",
    "double",
    "swapped",
    "degraded",
    "p99_before",
    "p99_during",
    "recovered_after_s",
)


def write_chaos(settings: ChaosSettings, journal: ChaosJournal, out: Path, *, command: str) -> list[Path]:
    """Write what the journal holds. Returns the files."""
    results = ordered(journal)
    content: dict[str, Any] = {}
    if results:
        content["faults"] = [{name: getattr(row, name) for name in _COLUMNS} for row in results]
    if journal.overload is not None:
        content["overload"] = journal.overload.model_dump()
    if journal.soak is not None:
        content["soak"] = journal.soak.model_dump()
    fuzzed = fuzz_result(settings, journal)
    if fuzzed is not None:
        content["fuzz"] = fuzzed.model_dump()
    path = out / "chaos.json"
    update_results(path, content)
    folder = out / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [path]
    if results:
        paths += [folder / "table.csv", folder / "figure.png"]
        _write_table(results, paths[-2])
        _plot(results, paths[-1])
    conditions = {"command": command, "settings": settings.model_dump(mode="json"), "machine": describe_machine()}
    paths.append(folder / "conditions.json")
    update_results(paths[-1], dict.fromkeys(content, conditions))  # parts may be run apart
    return paths


def update_results(path: Path, parts: dict[str, Any]) -> None:
    """Put these parts into a file of all results, and leave its others as they are."""
    found = orjson.loads(path.read_bytes()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: (found | parts)[name] for name in _PARTS if name in found | parts}
    path.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")


def fuzz_result(settings: ChaosSettings, journal: ChaosJournal) -> FuzzResult | None:
    """All of the fuzzing that these settings want and the journal holds; None where it holds nothing of it."""
    if settings.fuzz is None or not journal.fuzz:
        return None
    return summed(journal.fuzz[chunk.key] for chunk in fuzz_plan(settings.fuzz) if chunk.key in journal.fuzz)


def ordered(journal: ChaosJournal) -> list[FaultResult]:
    """What the journal holds of faults, in their table's order."""
    return [journal.faults[name] for name in FAULTS if name in journal.faults]


def _write_table(results: Sequence[FaultResult], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(FaultResult.model_fields), lineterminator="\n")
        writer.writeheader()
        for row in results:
            values = row.model_dump() | {"troubles": "; ".join(f"{why}: {n}" for why, n in row.troubles.items())}
            writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in values.items()})


def _plot(results: Sequence[FaultResult], path: Path) -> None:
    """p99 before and during each fault, and how long it took to be normal again."""
    figure = Figure(figsize=(8, 0.32 * len(results) + 1.2), layout="constrained")
    times, recovery = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    places = range(len(results))
    for place, row in zip(places, results, strict=True):
        if row.p99_during is not None:
            times.plot([row.p99_before * 1e3, row.p99_during * 1e3], [place, place], color="0.8", zorder=1)
            times.scatter(row.p99_during * 1e3, place, color="tab:red", s=22, label="during" if not place else "_")
        times.scatter(row.p99_before * 1e3, place, color="0.3", s=22, label="before" if not place else "_")
        if row.recovered_after_s is None:
            recovery.text(0, place, " not within the load", va="center", fontsize=7)
        else:
            recovery.barh(place, row.recovered_after_s, color="tab:blue", height=0.6)
    times.set_yticks(list(places), [row.fault for row in results], fontsize=8)
    times.set(xscale="log", xlabel="p99 of the answered, ms")
    recovery.set(xlabel="p99 normal again after, s")
    times.invert_yaxis()
    times.legend(loc="lower right", fontsize=8)
    for axes in (times, recovery):
        axes.grid(axis="x", alpha=0.25)
    figure.savefig(path, dpi=110)
