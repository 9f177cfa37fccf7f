"""The points that an experiment has finished: one line each, appended as it ends, so that a stopped run goes on.

A line is found again by its point's hash: what changed in the experiment's file, or in the simulator, is run anew, and
everything else is kept. A line of an older simulator may have a result of another form: its hash is asked for no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from collage.bench._lines import whole_lines
from collage.bench.simulated._expand import Point
from collage.exceptions import SettingsError
from collage.simulation import PointResult


class _Line(BaseModel):
    key: str
    result: PointResult


class _OldLine(BaseModel):
    key: str
    result: dict[str, Any]


class PointJournal:
    """Finished points by their hash; in a file of JSON lines, or, without a path, in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._done: dict[str, PointResult] = {}
        if path is None:
            return
        try:
            lines = [_read(line) for line in whole_lines(path)]
        except ValidationError:
            raise SettingsError(f"{path}: is no journal of simulated points; delete it, or give --fresh") from None
        self._done = {line.key: line.result for line in lines if isinstance(line, _Line)}

    def find(self, point: Point) -> PointResult | None:
        """The point's result, if it has been run."""
        return self._done.get(point.key)

    def add(self, point: Point, result: PointResult) -> None:
        """Keep a finished point."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_Line(key=point.key, result=result).model_dump_json() + "\n")
        self._done[point.key] = result


def _read(line: str) -> _Line | _OldLine:
    """Raises ValidationError for what was never a point."""
    try:
        return _Line.model_validate_json(line)
    except ValidationError:
        return _OldLine.model_validate_json(line)
