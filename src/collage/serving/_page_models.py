"""What the first page shows, for each model: of this moment by version, of the past by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collage.serving._chronicle import Chronicle
from collage.serving._status import Status

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving._models import Models
    from collage.serving._served import Served


class PageModels:
    """Watches all models as they come and go; a model that is served no more is forgotten. Event loop's thread only."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._statuses: dict[Served, Status] = {}
        self._chronicles: dict[str, Chronicle] = {}
        models.watch(self._begun, self._gone)

    @property
    def names(self) -> list[str]:
        """Those that can be asked for, the first model first."""
        return list(dict.fromkeys([self._models.default.name, *(served.name for served in self._models.served)]))

    def find(self, name: str | None) -> tuple[Served, Status, Chronicle]:
        """The current version of a model, and what is shown of it; None: of the first. Raises UnknownModel."""
        served = self._models.find(name)
        return served, self._statuses[served], self._chronicles[served.name]

    def _begun(self, served: Served) -> None:
        self._statuses[served] = Status(served.plane, served.settings)
        name = served.name
        if name not in self._chronicles:
            self._chronicles[name] = Chronicle(lambda: self._current(name))
        self._chronicles[name].begun(served.plane)

    def _gone(self, served: Served) -> None:
        del self._statuses[served]
        self._chronicles[served.name].gone(served.plane)
        if not any(other.name == served.name for other in self._statuses):
            del self._chronicles[served.name]

    def _current(self, name: str) -> DataPlane | None:
        there = any(served.name == name for served in self._models.served)
        return self._models.find(name).plane if there else None
