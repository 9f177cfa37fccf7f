"""Sections of what was measured on real workers and real models, where it is in the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collage.bench._report import remarks
from collage.bench._summary import Row
from collage.bench._verdict import STRAGGLERS, verdicts
from collage.bench.report._numbers import listed, ms, percent
from collage.bench.report._section import Picture, Section, Table
from collage.bench.report._store import Result
from collage.bench.simulated import SimulatedRow


def live_sections(folder: Path, results: Sequence[tuple[Path, Result]]) -> list[Section]:
    """A section for each live bench, and how far the simulator is from it where both were run."""
    found = []
    simulated = [row for _, result in results for row in result.rows if row.kept and not row.knobs]
    for path in sorted(folder.glob("*.json")):
        rows = _live_rows(path)
        if rows:
            picture = path.parent / path.stem / "latency.png"
            found.append(
                Section(
                    path.stem,
                    f"On real workers: {path.stem}",
                    question="Does it hold outside a simulation?",
                    paragraphs=_agreement(rows, simulated),
                    bullets=verdicts(rows),
                    picture=Picture(picture, None, "Share of requests that take longer, by policy and load")
                    if picture.is_file()
                    else None,
                    folded=_live_table(rows),
                    notes=remarks(rows),
                )
            )
    return found


def _live_rows(path: Path) -> list[Row]:
    """The rows of a live bench's file; none where it is something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return [Row.model_validate(each) for each in content if each.get("kind") == "live"]
    except (ValidationError, ValueError, AttributeError, TypeError):
        return []


def _live_table(rows: Sequence[Row]) -> Table:
    header = ["slowness", "load", "policy", "mean", "std", "p50", "p99", "p99.9", "extra work", "A_o", "A_a"]
    lines = [
        [
            STRAGGLERS[row.straggler], f"{row.load:g}", row.policy + " †" * row.overloaded,
            *(f"{value * 1000:.1f}" for value in (row.mean, row.std, row.p50, row.p99, row.p999)),
            f"{row.extra_work:.1%}", f"{row.a_o:.2%}", f"{row.a_a:.2%}",
        ]
        for row in rows
    ]  # fmt: skip
    return Table(header, lines, left=3)


def _agreement(rows: Sequence[Row], simulated: Sequence[SimulatedRow]) -> list[str]:
    """How far p50 and p99 of the same settings are apart, live over simulated."""
    pairs = []
    for live in rows:
        same = [
            row
            for row in simulated
            if (row.preset, row.straggler, row.workers, row.metric)
            == (live.policy, live.straggler, live.workers, "query")
            and row.load is not None
            and abs(row.load - live.load) < 1e-9
            and abs(row.scale - live.scale) < 1e-9
        ]
        if same and not live.overloaded:
            pairs.append((live, same[0]))
    if not pairs:
        return []
    middle = sorted(live.p50 - row.metrics["p50"].value for live, row in pairs)
    ratios = sorted((live.p99 / row.p99, live, row) for live, row in pairs)
    typical = ratios[len(ratios) // 2][0]
    worst = max(ratios, key=lambda each: abs(each[0] - 1))
    inside = sum(
        live.p99_low <= row.metrics["p99"].high and row.metrics["p99"].low <= live.p99_high for live, row in pairs
    )
    _, live, row = worst
    return [
        f"{len(pairs)} of these settings were simulated too. A live p50 is {ms(middle[0])} to {ms(middle[-1])} above"
        f" the simulated one: that is the time in the gateway and in the machine's own queue, which the simulator does"
        f" not have. The live p99 is {typical:.2f} of the simulated one in the middle, and {worst[0]:.2f} of it where"
        f" they differ most ({live.policy}, {STRAGGLERS[live.straggler]}, load {live.load:g}: {ms(live.p99)} against"
        f" {ms(row.p99)}); in {inside} of {len(pairs)} the intervals touch."
    ]


def accuracy_section(folder: Path) -> list[Section]:
    """What the shipped models are worth, if that was measured."""
    path = folder / "accuracy.json"
    if not path.is_file():
        return []
    models: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    header = ["data", "model", "kind", "images a call", "accuracy", "below the single", "time of a call"]
    lines = []
    for model in models:
        own = model["a_a"] if model["a_d"] is None else model["a_d"]
        below = "" if model["a_d"] is None else f"{(model['a_a'] - model['a_d']) * 100:.1f} points"
        line = [model["dataset"], model["model"], model["code"], str(model["n"])]
        lines.append([*line, f"{own:.2%}", below, f"{model['latency_ratio']:.2f} of the single's"])
    backups = [model for model in models if model["a_d"] is not None]
    said = listed(
        [
            f"{model['model']} is right {percent(model['a_d'])} of the time where its single is right"
            f" {percent(model['a_a'])}"
            for model in backups
        ]
    )
    return [
        Section(
            "models",
            "What the backups' models are worth",
            question="How good is an answer that comes from a backup?",
            paragraphs=[f"On test images: {said}."] if said else [],
            table=Table(header, lines, left=3),
        )
    ]
