"""The whole report, from whatever results are there."""

from __future__ import annotations

import json
from pathlib import Path

from collage.bench.report._experiments import experiment_section
from collage.bench.report._html import to_html
from collage.bench.report._markdown import to_markdown
from collage.bench.report._opening import WORDS, headlines, opening
from collage.bench.report._others import accuracy_section, live_sections
from collage.bench.report._section import Section
from collage.bench.report._store import read_results
from collage.bench.report._tail import tail_rows
from collage.exceptions import SettingsError

_TITLE = "Collage: what backups do to the slowest answers"


def build_report(folder: Path, out: Path) -> list[Path]:
    """Write index.html and report.md into `out`, and `tail.json`, all simulated rows, into `folder`; gives the paths.

    folder: where results are, one folder an experiment. Raises SettingsError where there is nothing to report.
    """
    results = read_results(folder)
    live = live_sections(folder, results)
    if not results and not live:
        raise SettingsError(f"{folder}: holds no results yet; `collage simulate --config experiments/tail` makes them")
    said = headlines(results)
    sections = [opening(results), Section("words", "The words", bullets=WORDS)]
    if said:
        sections.append(Section("short", "In short", bullets=said))
    maps = [own for own, result in results if result.experiment.figure.kind == "map"]
    sections += [experiment_section(own, result) for own, result in results if own not in maps[:1]]
    sections += [*live, *accuracy_section(folder)]
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "index.html", out / "report.md"]
    paths[0].write_text(to_html(_TITLE, sections), "utf-8")
    paths[1].write_text(to_markdown(_TITLE, sections, out), "utf-8")
    if results:
        paths.append(folder / "tail.json")
        rows = [row for _, result in results for row in tail_rows(result)]
        paths[-1].write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    return paths
