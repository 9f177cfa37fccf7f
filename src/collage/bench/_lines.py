"""Files of lines that are appended to one by one, and may have been torn by a kill."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path) -> list[str]:
    """The file's whole lines; none where there is no file. What a kill left of the last one is cut off the file."""
    if not path.is_file():
        return []
    text = path.read_text("utf-8")
    whole, _, torn = text.rpartition("\n")
    if torn:
        path.write_text(whole + "\n" if whole else "", "utf-8")
    return whole.splitlines()
