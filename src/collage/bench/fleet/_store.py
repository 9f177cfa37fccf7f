"""`fleet.json`: what the studies of a fleet found, one part each. A study writes its own part and keeps the others'."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

from collage.exceptions import SettingsError

FleetPart = Literal["ray", "gateways", "elastic", "ddp", "edge"]


def update_fleet_json(path: Path, part: FleetPart, found: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Put the part into the file, and make the file where there is none. Other parts stay as they are.

    Several studies may do so at once. Raises SettingsError where the file is there and is not such a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # until the folder is closed: what is read below is still there when written
        parts = _read(path) | {part: found}
        beside = path.with_name(f".{path.name}.new")
        ordered = {name: parts[name] for name in get_args(FleetPart) if name in parts}
        beside.write_text(json.dumps(ordered, indent=1) + "\n")
        beside.replace(path)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        parts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); move it away, or mend it") from None
    if not isinstance(parts, dict) or not parts.keys() <= set(get_args(FleetPart)):
        raise SettingsError(f"{path}: it is not a table of {', '.join(get_args(FleetPart))}; move it away")
    return parts
