"""What a run has finished so far: one line a turn, appended as it ends, so that a stopped run goes on where it was."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collage.bench._lines import whole_lines
from collage.bench._plan import Turn
from collage.exceptions import SettingsError


class TurnResult(BaseModel):
    """What one turn measured. Counted requests only, unless a field says otherwise."""

    model_config = ConfigDict(extra="forbid")

    turn: Turn
    latencies: list[float] = Field(description="seconds from the intended send time to the answer, in order of sending")
    sources: dict[str, int] = Field(description="answers by source")
    right: int = Field(description="answers with the label's class")
    single_right: int = Field(description="of the same queries, those that the single alone gets right")
    failed: int = Field(description="requests without an answer; they are in no other figure")
    single_seconds: float = Field(description="worker-seconds of first singles")
    extra_seconds: float = Field(description="worker-seconds of everything else")
    backups_sent: int
    jobs: int = Field(description="jobs that ended, warm-up included")
    overruns: int = Field(
        description="of these, those that took longer than their draw by more than the limits' tolerance"
    )
    lateness_p99: float = Field(description="seconds from intended to real sending")
    lateness_max: float
    cpu_share: float | None = Field(description="of the cores, by gateway, load and workers; None: not known here")
    seconds: float = Field(description="from the first arrival to the last answer, warm-up included")
    attempt: int = Field(default=0, description="how often the turn was run before, and left out for its machine")


class _Header(BaseModel):
    experiment: str


class Journal:
    """The finished turns of one experiment, in a file of JSON lines whose first says which experiment it is."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self.done: dict[Turn, TurnResult] = {}

    def open(self) -> None:
        """Read what is there; begin the file where nothing is. Raises SettingsError for another experiment's file."""
        lines = whole_lines(self.path)
        if not lines:
            self._begin()
            return
        try:
            header = _Header.model_validate_json(lines[0])
            results = [TurnResult.model_validate_json(line) for line in lines[1:]]
        except ValidationError:
            raise SettingsError(f"{self.path}: is no journal of a bench; delete it, or give --fresh") from None
        if header.experiment != self._fingerprint and not results:
            self._begin()
        elif header.experiment != self._fingerprint:
            raise SettingsError(f"{self.path}: holds turns of other settings; delete it, or give --fresh")
        self.done = {result.turn: result for result in results}

    def add(self, result: TurnResult) -> None:
        """Keep a finished turn."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(result.model_dump_json() + "\n")
        self.done[result.turn] = result

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(_Header(experiment=self._fingerprint).model_dump_json() + "\n", "utf-8")
