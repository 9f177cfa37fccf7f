"""How the report opens: should I use this, and the few words that one needs to read on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collage.bench.report._experiments import how, numbers
from collage.bench.report._map_words import ranked, say_map
from collage.bench.report._section import Picture, Section
from collage.bench.report._store import Result
from collage.bench.report._words import say
from collage.bench.simulated import Experiment, choices

_WHAT = (
    "Many workers run the same image classifier. Now and then one of them is slow, and whoever waits for it waits"
    " several times longer than usual. A **backup** is a second way to the same answer: the same image sent to another"
    " worker, or to a smaller model, or several images tiled into one picture (a **collage**) that one model classifies"
    " at once. Backups cost work. This report says which backup is right for which service, and what it costs."
)
WORDS = [
    "**p99**: 99 of 100 answers come sooner than this; one in a hundred takes longer. **p99.9**: one in a thousand.",
    "**load**: how busy the workers are with the usual calls alone; 0.7 means 70% of their time.",
    "**extra work**: the workers' time that backups take, over the time of the usual calls; replication is 100%.",
    "**accuracy change** (A_o - A_a): how many more or fewer answers in a hundred are right than if the classifier"
    " had answered all of them, because some come from a smaller model.",
    "**none**: no backups. **replicate**: everything is sent to two workers. **hedge**: what is late is sent again."
    " **cheap**: what is late is sent to a smaller model. **parity**: a backup of k images that gives back one missing"
    " answer. **collage**: what is in flight is tiled into one picture that stands in for whoever is late.",
    "**overhead**: what a call costs whatever its model: the network, unpacking, waiting. It makes small models dearer"
    " than they look, and it is where one call for nine images is worth more than nine small ones.",
]


def opening(results: Sequence[tuple[Path, Result]]) -> Section:
    """The answer, from the map if there is one; otherwise what has to be run for it."""
    maps = [(folder, result) for folder, result in results if result.experiment.figure.kind == "map"]
    if not maps:
        advice = (
            "No map has been run yet, so there is no general answer here: `collage simulate --config"
            " experiments/tail/map.toml` makes one. The figures below say what was found in each setting."
        )
        return Section("use", "Should I use this?", lead=[_WHAT, advice])
    folder, first = maps[0]
    bullets = [line for _, result in maps for line in _of_map(result)]
    answer = (
        "It depends on your load, on what a call costs beside its model, on how often workers are slow, and on how many"
        " workers there are. In a square of the map stand the policy that is right there, and how many times lower its"
        " p99 is than without backups."
    )
    return Section(
        "use",
        "Should I use this?",
        lead=[_WHAT, answer],
        bullets=bullets,
        picture=Picture(folder / "figure.png", folder / "figure.svg", first.experiment.title),
        folded=numbers([row for row in first.rows if row.kept]),
        notes=[say_map([row for row in first.rows if row.kept], first.experiment.map)[0], how(folder, first)],
    )


def _of_map(result: Result) -> list[str]:
    rows = [row for row in result.rows if row.kept]
    order = ranked(choices(rows, result.experiment.map))
    count = ", ".join(f"{label} in {len(own)}" for label, own in order)
    total = len({row.cell for row in rows})
    return [
        f"**{result.experiment.title}**: of {total} situations, {count}.",
        *say_map(rows, result.experiment.map)[1:],
    ]


def headlines(results: Sequence[tuple[Path, Result]]) -> list[str]:
    """A line for each experiment about a policy of ours: its first sentence."""
    found = []
    for _, result in results:
        experiment = result.experiment
        if experiment.ours is not None and experiment.figure.kind in {"lines", "bars"} and not _sweeps(experiment):
            said = say(experiment, result.rows)
            if said:
                found.append(f"**{experiment.title}**: {said[0]}")
    return found


def _sweeps(experiment: Experiment) -> bool:
    return any(entry.ours and entry.sweep for entry in experiment.policies)
