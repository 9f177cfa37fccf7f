"""The rooms of src/collage import downward only, as docs/architecture.md draws them, and only what is public."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import collage

HOUSE = Path(collage.__file__).parent
PICTURE = Path("docs/architecture.md").read_text().split("```")[1]
LEVEL = {room: level for level, line in enumerate(PICTURE.strip().splitlines()) for room in re.findall(r"\w+", line)}


def test_every_room_is_in_the_picture() -> None:
    rooms = {path.parent.name for path in HOUSE.glob("*/__init__.py")} | {
        path.stem for path in HOUSE.glob("*.py") if path.stem != "__init__"
    }
    assert set(LEVEL) == rooms


def test_imports_go_downward() -> None:
    upward = []
    for path in HOUSE.glob("*/**/*.py"):
        room = path.relative_to(HOUSE).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("collage."):
                other = str(node.module).split(".")[1]
                if other != room and LEVEL[other] <= LEVEL[room]:
                    upward.append(f"{path.relative_to(HOUSE)}: {node.module}")
    assert not upward


def _private(room: str, node: ast.AST) -> list[str]:
    """Files of other rooms whose names begin with `_`, as this import names them."""
    match node:
        case ast.Import():
            names = [alias.name for alias in node.names]
        case ast.ImportFrom() if node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        case _:
            return []
    found = []
    for name in names:
        house, *parts = name.split(".")
        if house == "collage" and parts and parts[0] != room and any(re.match("_[a-z]", part) for part in parts):
            found.append(name)
    return found


def test_no_room_goes_through_anothers_private_files() -> None:
    entered = [
        f"{path.relative_to(HOUSE)}: {name}"
        for path in HOUSE.glob("*/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _private(path.relative_to(HOUSE).parts[0], node)
    ]
    assert not entered


def test_a_private_file_is_seen_however_it_is_imported() -> None:
    for line in (
        "import collage.engines._wire",
        "from collage.engines import _wire",
        "from collage.engines._wire import pack",
    ):
        (node,) = ast.parse(line).body
        assert _private("bench", node), line
        assert not _private("engines", node), line
    (node,) = ast.parse("from collage.engines.readers import pack").body
    assert not _private("bench", node)
