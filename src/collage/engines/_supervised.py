"""Workers that an engine starts itself: each has a station, and a task that keeps the station's worker alive."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from collage.dispatch import Role, WorkerId
from collage.exceptions import ModelError


class Station(Protocol):
    """One worker across all the lives of its process."""

    tried: asyncio.Event
    """It is ready, or has failed once."""
    trouble: str
    """Why it last went down."""

    @property
    def ready(self) -> bool:
        """Whether it takes jobs."""

    async def supervise(self) -> None:
        """Keep it alive, for ever; to cancel this ends its process."""

    def leave(self) -> None:
        """It was removed: say so, if it was up."""


_S = TypeVar("_S", bound=Station)


class Supervised(ABC, Generic[_S]):
    """What such engines share: workers that come up together, join, leave, and end together.

    workers: the roles of each. Raises what `_station` raises.
    """

    def __init__(self, workers: Mapping[WorkerId, frozenset[Role]]) -> None:
        self._stations = {name: self._station(name, roles) for name, roles in workers.items()}
        self._supervisors: dict[WorkerId, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()  # of workers that were removed

    @abstractmethod
    def _station(self, name: WorkerId, roles: frozenset[Role]) -> _S:
        """A worker that does not run yet. Raises ValueError for roles without a model."""

    def add(self, worker: WorkerId, roles: frozenset[Role]) -> None:
        """Start another worker; `worker_up` follows once there is room for it and it is ready. Called after `start`.

        Raises ValueError for a name in use, or roles without a model.
        """
        if worker in self._stations:
            raise ValueError(f"there is a worker {worker} already")
        station = self._stations[worker] = self._station(worker, roles)
        self._supervise(worker, station)

    def remove(self, worker: WorkerId) -> None:
        """Stop a worker for good; `worker_down` is called at once if it was up, and what it ran is lost.

        Raises ValueError for an unknown worker.
        """
        station = self._at(worker)
        del self._stations[worker]
        task = self._supervisors.pop(worker)
        task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        station.leave()

    def removable(self, worker: WorkerId) -> bool:
        """Whether it is there."""
        return worker in self._stations

    def _at(self, worker: WorkerId) -> _S:
        station = self._stations.get(worker)
        if station is None:
            raise ValueError(f"no worker {worker}")
        return station

    async def _start_all(self) -> None:
        """Returns when each is ready or has failed once. Raises ModelError where none is ready."""
        for name, station in self._stations.items():
            station.tried.clear()
            self._supervise(name, station)
        for station in self._stations.values():
            await station.tried.wait()
        if not any(station.ready for station in self._stations.values()):
            raise ModelError(f"no worker could start: {next(iter(self._stations.values())).trouble}")

    async def _end_all(self) -> None:
        """Returns when all are gone, those that were removed too. Idempotent."""
        supervisors = [*self._supervisors.values(), *self._leaving]
        self._supervisors.clear()
        for task in supervisors:
            task.cancel()
        await asyncio.gather(*supervisors, return_exceptions=True)

    def _supervise(self, name: WorkerId, station: _S) -> None:
        self._supervisors[name] = asyncio.create_task(station.supervise(), name=f"collage worker {name}")
