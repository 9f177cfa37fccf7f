"""The report as Markdown. Figures are links to their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from collage.bench.report._section import Section, Table


def to_markdown(title: str, sections: Sequence[Section], folder: Path) -> str:
    """The whole report. folder: where it is written; links are relative to it."""
    blocks = [f"# {title}", *(block for section in sections for block in _blocks(section, folder))]
    return "\n\n".join(blocks) + "\n"


def _blocks(section: Section, folder: Path) -> Iterator[str]:
    yield f"## {section.title}"
    if section.question:
        yield f"*{section.question}*"
    yield from section.lead
    if section.picture is not None:
        at = Path(os.path.relpath(section.picture.png, folder)).as_posix()
        yield f"![{section.picture.alt}]({at})"
    yield from section.paragraphs
    if section.bullets:
        yield "\n".join(f"- {bullet}" for bullet in section.bullets)
    for table in (section.table, section.folded):
        if table is not None:
            yield _table(table)
    yield from section.notes


def _table(table: Table) -> str:
    rule = ["---" if index < table.left else "---:" for index in range(len(table.header))]
    lines = [table.header, rule, *([cell.replace("|", "\\|") for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
