"""Text between the markers <!-- NAME --> and <!-- /NAME --> of a page, which the scripts here keep up to date."""

from __future__ import annotations


def replace_marked(text: str, marker: str, content: str, page: str) -> str:
    """The page's text with `content` between its markers. Exits where they are absent; `page` is its name."""
    before, opening, rest = text.partition(f"<!-- {marker} -->\n")
    _, closing, after = rest.partition(f"<!-- /{marker} -->")
    if not opening or not closing:
        raise SystemExit(f"{page}: has no markers <!-- {marker} --> and <!-- /{marker} -->")
    return f"{before}{opening}\n{content}\n{closing}{after}"
