"""Workers that are drained: they finish what they run, are given nothing new, and may be taken away once idle."""

from __future__ import annotations

from collections.abc import Callable

from collage.dispatch import WorkerId


class Drains:
    """Who drains, and who of them has nothing left to do. `running`: how many jobs a worker runs."""

    def __init__(self, running: Callable[[WorkerId], int]) -> None:
        self.on_empty: Callable[[WorkerId], None] | None = None  # told once of each that has nothing left
        self._running = running
        self._told: dict[WorkerId, bool] = {}

    def __contains__(self, worker: WorkerId) -> bool:
        return worker in self._told

    def __bool__(self) -> bool:
        return bool(self._told)

    def begin(self, worker: WorkerId) -> None:
        """It is given nothing new from now on."""
        self._told.setdefault(worker, False)

    def end(self, worker: WorkerId) -> None:
        """It may be given jobs again, or is gone for good."""
        self._told.pop(worker, None)

    def look(self) -> None:
        """Tell of those that have run dry."""
        for worker, told in list(self._told.items()):
            if not told and not self._running(worker):
                self._told[worker] = True
                if self.on_empty is not None:
                    self.on_empty(worker)
