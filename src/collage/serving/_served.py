"""One version of a model that is served: its data plane, how clients see it, what it has done, and who uses it."""

from __future__ import annotations

import asyncio
from typing import Self

from collage.engines import Hold
from collage.serving._dataplane import DataPlane
from collage.serving._oip_model import OipModel
from collage.serving._settings import ServingSettings
from collage.serving._statistics import Statistics


class Served:
    """A version with workers, dispatcher and statistics of its own. Event loop's thread only, but for `make`.

    settings: those that it is served by; version_given: in place of its card's, if any. Raises ModelError where the
    single has not one input and one output.
    """

    def __init__(
        self, settings: ServingSettings, plane: DataPlane, *, name: str | None = None, version: str | None = None
    ) -> None:
        self.settings = settings
        self.version_given = version
        self.plane = plane
        self.oip = OipModel.of(plane.single, name=name, version=version)
        self.statistics = Statistics()
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @classmethod
    def make(
        cls, settings: ServingSettings, *, name: str | None = None, version: str | None = None, hold: Hold | None = None
    ) -> Self:
        """Of the settings; on any thread. Raises ModelError and SettingsError."""
        return cls(settings, DataPlane(settings, hold=hold), name=name, version=version)

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.oip.name

    @property
    def version(self) -> str:
        """Which of the model's."""
        return self.oip.version

    @property
    def key(self) -> tuple[str, str]:
        """Name and version."""
        return self.name, self.version

    def __enter__(self) -> Self:
        """Around one request: the version is not stopped meanwhile."""
        self._users += 1
        self._unused.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def unused(self) -> None:
        """Returns once no request uses it."""
        await self._unused.wait()
