"""The rooms of src/collage import downward only, as docs/architecture.md draws them."""

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
