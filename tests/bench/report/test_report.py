"""The report of small real runs: complete, self-contained, and true to its numbers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from collage.bench._summary import Row
from collage.bench.report import build_report, read_results
from collage.exceptions import SettingsError

_VOID = {"meta", "img", "br"}


@pytest.fixture(scope="module")
def built(results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """The page, the Markdown and their folder."""
    out = tmp_path_factory.mktemp("out") / "report"
    paths = build_report(results, out)
    assert [path.name for path in paths] == ["index.html", "report.md", "tail.json"]
    return paths[0].read_text(), paths[1].read_text(), out


class _Page(HTMLParser):
    """Elements open and close in order; ids; what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in {"src", "href", "xlink:href"}:
                self.links.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_that_needs_nothing_else(built: tuple[str, str, Path]) -> None:
    page = _Page()
    page.feed(built[0])
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or (link.startswith("#") and link[1:] in page.ids)
    used = re.findall(r"url\(#([^)]+)\)", built[0])
    assert used
    assert set(used) <= set(page.ids)
    assert built[0].count("<svg") == 6
    assert "#000000" not in re.sub(r"<style>.*?</style>", "", built[0], count=1, flags=re.DOTALL)


def test_it_opens_with_should_i_use_this_and_explains_its_words(built: tuple[str, str, Path]) -> None:
    for text in built[:2]:
        assert text.index("Should I use this?") < text.index("The words") < text.index("Busier and busier")
        for said in ("8 situations", "is right in", "99 of 100 answers", "On real workers", "worth"):
            assert said in text


def test_what_a_file_says_is_no_markup(built: tuple[str, str, Path]) -> None:
    assert "Is &lt;this&gt; &amp; that all right?" in built[0]


def test_markdown_links_its_figures(built: tuple[str, str, Path]) -> None:
    found = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", built[1])
    assert len(found) == 7
    for link in found:
        assert (built[2] / link).resolve().is_file()


def test_sentences_have_the_rows_numbers(built: tuple[str, str, Path], results: Path) -> None:
    rows = next(result.rows for _, result in read_results(results) if result.experiment.name == "lines")
    ours = sorted(row.p99 for row in rows if row.ours)
    section = built[1].split("## Busier and busier")[1].split("\n## ")[0]
    assert f"longer than {ours[0] * 1000:.0f} to {ours[-1] * 1000:.0f} ms" in section
    assert "For comparison, no-stragglers would have" in section
    assert ("Overloaded" in section) == any(row.overloaded for row in rows)
    assert "2 more rows were tried" in section


def test_the_table_has_every_row_and_what_was_tried(results: Path) -> None:
    with (results / "lines" / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 7
    assert [line["policy"] for line in lines[:7]] == [
        "none", "replicate", "hedge", "hedge", "cheap", "collage", "no-stragglers"
    ]  # fmt: skip
    assert sorted(line["kept"] for line in lines[2:4]) == ["False", "True"]
    assert {line["knob.budget"] for line in lines[2:4]} == {"0.05", "0.4"}
    assert {line["axis.load"] for line in lines} == {"0.3", "0.6"}
    for line in lines:
        assert float(line["p99_low"]) <= float(line["p99"]) <= float(line["p99_high"])
        assert 0 <= float(line["extra_work"]) < 2


def test_tail_has_the_form_of_a_live_bench(built: tuple[str, str, Path], results: Path) -> None:
    rows = json.loads((results / "tail.json").read_text())
    live = json.loads((results / "tail-live.json").read_text())
    assert {"lines", "map", "cdf", "frontier", "rounds", "sweep"} == {row["experiment"] for row in rows}
    for row in rows:
        assert set(Row.model_fields) <= set(row)
        assert set(live[0]) <= set(row)
        assert row["kind"] == "simulated"
        if row["metric"] == "query":
            own = {name: value for name, value in row.items() if name in Row.model_fields}
            assert Row.model_validate(own).p99_low <= row["p99"] <= row["p99_high"]
    assert {row["metric"] for row in rows} == {"query", "round"}
    # Only the best of a tuning is a row here.
    assert sum(row["experiment"] == "lines" and row["policy"] == "hedge" for row in rows) == 2


def test_figures_are_both_kinds_and_the_same_for_the_same_rows(results: Path, tmp_path: Path) -> None:
    for folder in results.glob("*/experiment.json"):
        assert (folder.parent / "figure.png").read_bytes().startswith(b"\x89PNG")
        drawn = (folder.parent / "figure.svg").read_text()
        assert "<svg" in drawn
        assert "<dc:date>" not in drawn


def test_a_report_without_a_map_says_how_to_make_one(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "lines", tmp_path / "lines")
    text = build_report(tmp_path, tmp_path / "report")[1].read_text()
    assert "experiments/tail/map.toml" in text
    assert "On real workers" not in text


def test_nothing_to_report_and_a_damaged_result_are_one_line(results: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no results yet"):
        build_report(tmp_path, tmp_path / "report")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "experiment.json").write_text('{"kind": "simulated"}')
    with pytest.raises(SettingsError, match=r"x.experiment\.json: is of another version") as error:
        build_report(tmp_path, tmp_path / "report")
    assert "\n" not in str(error.value)
