"""What a run has finished so far: one line a session, appended as it ends; a stopped run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import orjson

from collage.bench._lines import whole_lines
from collage.bench.gateway._session import SessionResult
from collage.bench.gateway._settings import GatewaySettings, Session
from collage.exceptions import SettingsError


class GatewayJournal:
    """A file of JSON lines, the first of which says which settings it is of."""

    def __init__(self, path: Path, settings: GatewaySettings) -> None:
        self.path = path
        self.results: list[SessionResult] = []
        self._header = {"gateway": settings.fingerprint()}

    def open(self) -> None:
        """Read what is there; begin the file where nothing is. Raises SettingsError for another run's file."""
        lines = whole_lines(self.path)
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(orjson.dumps(self._header) + b"\n")
            return
        try:
            if orjson.loads(lines[0]) != self._header:
                raise SettingsError(f"{self.path}: holds a run of other settings; delete it, or give --fresh")
            self.results = [SessionResult.model_validate_json(line) for line in lines[1:]]
        except ValueError:
            raise SettingsError(f"{self.path}: is no journal of this command; delete it, or give --fresh") from None

    def __contains__(self, session: Session) -> bool:
        return any(result.session == session for result in self.results)

    def add(self, result: SessionResult) -> None:
        """Keep a finished session."""
        with self.path.open("ab") as file:
            file.write(result.model_dump_json().encode() + b"\n")
        self.results.append(result)
