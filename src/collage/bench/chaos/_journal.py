"""What a run has finished so far: one line a part, appended as it ends, so that a stopped run goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from collage.bench._lines import whole_lines
from collage.bench.chaos._overload import OverloadResult
from collage.bench.chaos._run import FaultResult
from collage.bench.chaos._settings import ChaosSettings
from collage.bench.chaos._soak import SoakResult
from collage.bench.chaos.fuzz import FuzzChunk
from collage.exceptions import SettingsError


class ChaosJournal:
    """A file of JSON lines, the first of which says which settings it is of."""

    def __init__(self, path: Path, settings: ChaosSettings) -> None:
        self.path = path
        self.faults: dict[str, FaultResult] = {}
        self.overload: OverloadResult | None = None
        self.soak: SoakResult | None = None
        self.fuzz: dict[tuple[str, int, int, int], FuzzChunk] = {}
        self._header = {"chaos": settings.fingerprint()}

    def open(self) -> None:
        """Read what is there; begin the file where nothing is. Raises SettingsError for another run's file."""
        lines = whole_lines(self.path)
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", self._header)
            return
        try:
            header, *rows = map(orjson.loads, lines)
            if header != self._header:
                raise SettingsError(f"{self.path}: holds a run of other settings; delete it, or give --fresh")
            for row in rows:
                self._take(row)
        except (ValueError, KeyError, TypeError):
            raise SettingsError(f"{self.path}: is no journal of this command; delete it, or give --fresh") from None

    def add(self, result: FaultResult | OverloadResult | SoakResult | FuzzChunk) -> None:
        """Keep a finished part."""
        kind = {FaultResult: "fault", OverloadResult: "overload", SoakResult: "soak", FuzzChunk: "fuzz"}[type(result)]
        row = {kind: result.model_dump()}
        self._write("a", row)
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        ((kind, content),) = row.items()
        if kind == "fault":
            result = FaultResult.model_validate(content)
            self.faults[result.fault] = result
        elif kind == "overload":
            self.overload = OverloadResult.model_validate(content)
        elif kind == "fuzz":
            chunk = FuzzChunk.model_validate(content)
            self.fuzz[chunk.key] = chunk
        else:
            self.soak = SoakResult.model_validate(content)

    def _write(self, mode: str, row: object) -> None:
        with self.path.open(mode + "b") as file:
            file.write(orjson.dumps(row) + b"\n")
