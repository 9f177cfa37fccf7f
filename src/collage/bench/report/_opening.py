"""How the report opens: should I use this, and the few words that one needs to read on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collage.bench.report._map_words import ranked, say_map
from collage.bench.report._section import Picture, Section
from collage.bench.report._store import Result
from collage.bench.report._words import say
from collage.bench.simulated import choices

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
        return Section("use", "Should I use this?", paragraphs=[_WHAT, advice])
    folder, result = maps[0]
    rows, experiment = [row for row in result.rows if row.kept], result.experiment
    order = ranked(choices(rows, experiment.map))
    total = sum(len(own) for _, own in order)
    count = ", ".join(f"{label} in {len(own)}" for label, own in order)
    rule, *said = say_map(rows, experiment.map)
    answer = (
        "It depends on your load, on what a call costs beside its model, and on how often workers are slow."
        f" Of {total} situations, the right policy is {count}."
    )
    return Section(
        "use",
        "Should I use this?",
        paragraphs=[_WHAT, answer],
        bullets=said,
        picture=Picture(folder / "figure.png", folder / "figure.svg", f"{experiment.title}. {answer}"),
        notes=[rule, *_more(result)],
    )


def _more(result: Result) -> list[str]:
    return [result.experiment.remark] if result.experiment.remark else []


def headlines(results: Sequence[tuple[Path, Result]]) -> list[str]:
    """A line for each experiment about a policy of ours: its first sentence."""
    found = []
    for _, result in results:
        experiment = result.experiment
        if experiment.ours is not None and experiment.figure.kind in {"lines", "bars", "cdf"}:
            said = say(experiment, result.rows)
            if said:
                found.append(f"**{experiment.title}**: {said[0]}")
    return found
