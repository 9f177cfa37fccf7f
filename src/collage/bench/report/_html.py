"""The report as one HTML page that needs nothing else: style and figures are in it, and nothing is fetched."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from importlib import resources

from collage.bench.report._section import Picture, Section, Table


def to_html(title: str, sections: Sequence[Section]) -> str:
    """The whole page, for light and dark, wide and narrow screens."""
    style = (resources.files("collage.bench.report") / "report.css").read_text("utf-8")
    links = "".join(f'<li><a href="#{section.key}">{html.escape(section.title)}</a></li>' for section in sections)
    body = "\n".join("\n".join(_blocks(section)) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</main>\n"
        f'<nav aria-label="Contents"><details><summary>All parts</summary><ol>{links}</ol></details></nav>\n'
        "</body>\n</html>\n"
    )


def _blocks(section: Section) -> Iterator[str]:
    yield f'<section id="{section.key}">\n<h2>{html.escape(section.title)}</h2>'
    if section.question:
        yield f'<p class="question">{_inline(section.question)}</p>'
    yield from (f"<p>{_inline(text)}</p>" for text in section.lead)
    if section.picture is not None:
        yield _figure(section.picture, section.key)
    yield from (f"<p>{_inline(text)}</p>" for text in section.paragraphs)
    if section.bullets:
        yield "<ul>" + "".join(f"<li>{_inline(text)}</li>" for text in section.bullets) + "</ul>"
    if section.table is not None:
        yield _table(section.table)
    if section.folded is not None:
        yield f"<details><summary>The numbers</summary>{_table(section.folded)}</details>"
    yield from (f'<p class="note">{_inline(text)}</p>' for text in section.notes)
    yield "</section>"


def _inline(text: str) -> str:
    """Escaped, with **bold** and `code`."""
    safe = html.escape(text, quote=False)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", safe)


def _table(table: Table) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if index < table.left else ' class=number'}>{_inline(cell)}</{tag}>"
            for index, cell in enumerate(row)
        )

    head = f"<thead><tr>{cells(table.header, 'th')}</tr></thead>"
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{body}</tbody></table></div>'


def _figure(picture: Picture, key: str) -> str:
    alt = html.escape(picture.alt)
    if picture.svg is not None and picture.svg.is_file():
        drawn = inline_svg(picture.svg.read_text("utf-8"), key)
        return f'<figure role="img" aria-label="{alt}"><div class="wide" tabindex="0">{drawn}</div></figure>'
    data = base64.b64encode(picture.png.read_bytes()).decode()
    image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    return f'<figure><div class="wide paper" tabindex="0">{image}</div></figure>'


def inline_svg(text: str, key: str) -> str:
    """A Matplotlib SVG that takes its black from the page's text and its white from the page, with ids of its own."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text))
    referenced = {name for pair in used for name in pair if name}

    def identifier(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in referenced else ""

    text = re.sub(r' id="([^"]+)"', identifier, text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    width = re.search(r'viewBox="0 0 ([\d.]+)', text)
    if width is not None:
        text = text.replace("<svg", f'<svg style="--drawn: {float(width[1]):.0f}pt"', 1)
    text = re.sub(r"#000000\b", "currentColor", text)
    return re.sub(r"#ffffff\b", "var(--page)", text)
