"""The report as a list of sections: what is said, without how it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """A table of words; columns are right-aligned but the first `left` ones."""

    header: list[str]
    rows: list[list[str]]
    left: int = 1


@dataclass(frozen=True)
class Picture:
    """A figure on disk. svg is preferred where there is one."""

    png: Path
    svg: Path | None
    alt: str


@dataclass(frozen=True)
class Section:
    """One part of the report. Texts may hold **bold** and `code`, and nothing else that is markup.

    lead: before the picture; paragraphs: after it. folded: what few readers need, such as whole tables; shown when
    asked for.
    """

    key: str
    title: str
    question: str = ""
    lead: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    bullets: list[str] = field(default_factory=list)
    picture: Picture | None = None
    table: Table | None = None
    folded: Table | None = None
    notes: list[str] = field(default_factory=list)
