"""The models of one gateway, by name and version; versions come and go while it serves, and no query is lost by that.

Of each name one version is **current**: it answers requests that name no version. A version that is loaded starts
beside what is there, and becomes current once it is ready. What it replaces gets nothing new, and is stopped when the
last request that uses it has its answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

from collage.exceptions import InvalidInput, ModelError, SettingsError, Unavailable, UnknownModel
from collage.serving._dataplane import DataPlane
from collage.serving._model_settings import ModelSettings
from collage.serving._oip_model import NOT_READY
from collage.serving._served import Served
from collage.serving._settings import ServingSettings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Recipe(NamedTuple):
    """What is kept of a version that was unloaded: how to load it again, and nothing of its workers and models."""

    settings: ServingSettings
    version_given: str | None


class Models:
    """All that is served. Event loop's thread only.

    plane: of the first model, whose settings are the top level's; it is what callers who name no model get. Further
    ones are the settings' `models`; of several versions of a name, the last is current. Loads and checks them all at
    once: raises ModelError and SettingsError.
    """

    def __init__(self, settings: ServingSettings, plane: DataPlane) -> None:
        self._settings = settings
        self._hold = plane.hold
        self._numbers = plane.numbers  # no two queries have one, whichever model and version answers
        first = Served(settings, plane)
        self._first = first.name
        self._versions = {first.key: first}
        self._current = {first.name: first}
        self._leaving: list[Served] = []
        self._loading: list[tuple[str, str]] = []
        self._unloaded: dict[tuple[str, str], _Recipe] = {}
        self._watchers: list[tuple[Callable[[Served], None], Callable[[Served], None]]] = []
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = self._stopped = False
        for number, table in enumerate(settings.models):
            self._add_table(f"models.{number}", table)

    def _add_table(self, where: str, table: ModelSettings) -> None:
        if table.single is None:
            raise SettingsError(f"{where}.single: which single it serves is needed")
        served = self._make(self._settings.of_model(table), table.name, table.version)
        if served.key in self._versions:
            raise SettingsError(
                f"{where}: there is a version {served.version} of {served.name} already; name or version must differ"
            )
        self._versions[served.key] = self._current[served.name] = served

    def _make(self, settings: ServingSettings, name: str | None, version: str | None) -> Served:
        """On any thread. Raises ModelError and SettingsError."""
        served = Served.make(settings, name=name, version=version, hold=self._hold)
        served.plane.numbers = self._numbers
        return served

    # What there is.

    @property
    def default(self) -> Served:
        """What answers callers who name no model."""
        return self._current[self._first]

    @property
    def served(self) -> list[Served]:
        """All versions that requests can name."""
        return list(self._versions.values())

    @property
    def shown(self) -> list[Served]:
        """These, and those that are being drained; one of each name and version."""
        return list(({old.key: old for old in self._leaving} | self._versions).values())

    @property
    def ready(self) -> bool:
        """Whether every version answers queries."""
        return all(served.plane.ready for served in self._versions.values())

    def find(self, name: str | None, version: str | None = None) -> Served:
        """The version of that name, or its current one; None: the default model. Raises UnknownModel."""
        current = self._current.get(self._first if name is None else name)
        if current is None:
            names = " and ".join(repr(there) for there in self._current)
            raise UnknownModel(f"{name!r} is not served here; {names} {_are(len(self._current))}", field="model")
        if version is None:
            return current
        found = self._versions.get((current.name, version))
        if found is None:
            there = [other for of, other in self._versions if of == current.name]
            versions = " and ".join(map(repr, there))
            raise UnknownModel(
                f"{version!r} of {current.name!r} is not served here; {versions} {_are(len(there))}", field="version"
            )
        return found

    def use(self, name: str | None, version: str | None = None) -> AbstractContextManager[Served]:
        """The same, kept from being stopped until the block ends."""
        return self.find(name, version)

    def versions(self, name: str) -> list[str]:
        """Of a model that is served."""
        return [version for of, version in self._versions if of == name]

    def index(self, *, closed: bool = False, only_ready: bool = False) -> list[dict[str, str]]:
        """The repository extension's index. closed: the gateway takes nothing more."""
        rows: dict[tuple[str, str], tuple[str, str]] = dict.fromkeys(self._unloaded, ("UNAVAILABLE", "unloaded"))
        rows |= {old.key: ("UNLOADING", "it finishes what it has accepted") for old in self._leaving}
        rows |= dict.fromkeys(self._loading, ("LOADING", ""))
        for key, served in self._versions.items():
            rows[key] = ("READY", "") if served.plane.ready and not closed else ("UNAVAILABLE", NOT_READY)
        return [
            {"name": name, "version": version, "state": state, "reason": reason}
            for (name, version), (state, reason) in rows.items()
            if state == "READY" or not only_ready
        ]

    def watch(self, begun: Callable[[Served], None], gone: Callable[[Served], None] = lambda served: None) -> None:
        """Told of each version that is or is to be served, before its workers start, and when it has been stopped."""
        self._watchers.append((begun, gone))
        for served in self.served:
            begun(served)

    # What changes it.

    async def start(self) -> None:
        """Start all workers. Raises ModelError where none of a model could load it."""
        for done in await asyncio.gather(*(served.plane.start() for served in self.served), return_exceptions=True):
            if isinstance(done, BaseException):
                raise done
        self._started = True

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Of every version what `DataPlane.stop` does. Idempotent."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(served.plane.stop(drain_seconds) for served in (*self.served, *self._leaving)))

    async def load(self, name: str, table: ModelSettings, *, keep: bool = False) -> Served:
        """Serve another version, or the same with other settings; returns once it is current.

        What the table leaves out is as the current version has it, or had before it was unloaded. keep: the current
        version stays, under its own number. It goes on where its caller is cancelled. Raises InvalidInput, and nothing
        has changed, where the models do not fit each other or no worker could load them; UnknownModel where neither the
        name is known nor a single is named.
        """
        return await self._finish(self._load(name, table, keep=keep))

    async def unload(self, name: str, version: str | None = None) -> None:
        """Stop serving a model, or one version of it; what it has accepted is answered.

        Raises UnknownModel, and InvalidInput for the last version of the first model.
        """
        await self._finish(self._unload(name, version))

    async def _load(self, name: str, table: ModelSettings, *, keep: bool) -> Served:
        async with self._lock:
            settings, version = self._wanted(name, table)
            loading = (name, version or "")
            self._loading.append(loading)
            try:
                served = await self._start(name, version, settings)
            finally:
                self._loading.remove(loading)
            old = self._current.get(name)
            replaced = [self._versions.pop(served.key)] if served.key in self._versions else []
            if old is not None and not keep and old not in replaced:
                replaced.append(self._versions.pop(old.key))
            self._unloaded = {key: kept for key, kept in self._unloaded.items() if key[0] != name}
            self._versions[served.key] = self._current[name] = served
            for each in replaced:
                self._retire(each)
            _log.info("%s: version %s is served now", name, served.version)
            return served

    async def _start(self, name: str, version: str | None, settings: ServingSettings) -> Served:
        """A version with its workers up. Raises InvalidInput."""
        try:
            served = await asyncio.to_thread(self._make, settings, name, version)
            for begun, _ in self._watchers:
                begun(served)
            try:
                await served.plane.start()
            except BaseException:
                await served.plane.stop()
                self._tell_gone(served)
                raise
        except (ModelError, SettingsError) as error:
            raise InvalidInput(f"{name} is not loaded: {error}", field="parameters") from None
        return served

    def _wanted(self, name: str, table: ModelSettings) -> tuple[ServingSettings, str | None]:
        """What to serve a model by, and its version where that is not the card's."""
        known: Served | _Recipe | None = self._current.get(name)
        known = known or next((old for (of, _), old in reversed(self._unloaded.items()) if of == name), None)
        version = None if known is None or table.single is not None else known.version_given
        if known is None and table.single is None:
            raise UnknownModel(
                f"{name!r} is not known here; the parameter 'single' must say which one it is", field="model"
            )
        try:
            settings = self._settings.of_model(table) if known is None else known.settings.of_model(table, own=True)
        except ValueError as error:
            raise InvalidInput(str(error), field="parameters") from None
        return settings, table.version or version

    async def _unload(self, name: str, version: str | None) -> None:
        async with self._lock:
            self.find(name, version)
            gone = [key for key in self._versions if key[0] == name and version in (None, key[1])]
            left = [key for key in self._versions if key[0] == name and key not in gone]
            if name == self._first and not left:
                raise InvalidInput(
                    f"{name!r} is what callers get who name no model; it can be replaced by a load, not unloaded",
                    field="model",
                )
            if not left:
                del self._current[name]
            elif self._current[name].key in gone:
                self._current[name] = self._versions[left[-1]]
            for key in gone:
                old = self._versions.pop(key)
                self._unloaded[key] = _Recipe(old.settings, old.version_given)
                self._retire(old)
                _log.info("%s: version %s is unloaded", *key)

    def _retire(self, served: Served) -> None:
        self._leaving.append(served)
        self._spawn(self._drain(served))

    async def _drain(self, served: Served) -> None:
        await served.unused()
        await served.plane.stop()
        self._leaving.remove(served)
        self._tell_gone(served)
        _log.info("%s: version %s has been stopped", *served.key)

    def _tell_gone(self, served: Served) -> None:
        for _, gone in self._watchers:
            gone(served)

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Whoever waits for it may go: it is done in any case, or not at all."""
        if self._stopped or not self._started:
            work.close()
            raise Unavailable("the service is not ready")
        task = self._spawn(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller: the service stops
                raise Unavailable("the service is stopping") from None
            raise

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
