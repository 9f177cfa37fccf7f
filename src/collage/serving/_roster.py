"""Which workers a gateway has: they join, are drained, come back, and leave. Nothing that runs is ever cut off."""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from collage.dispatch import Role, WorkerId
from collage.engines import ElasticEngine, Engine
from collage.exceptions import InvalidInput
from collage.serving._driver import Driver

_log = logging.getLogger(__name__)

_MOST = 256  # workers, as in the settings


class Roster:
    """Changes the workers of a running driver. roles: of those that are added. Event loop's thread only."""

    def __init__(self, driver: Driver, engine: Engine, roles: frozenset[Role]) -> None:
        self._driver = driver
        self._engine = engine
        self._roles = roles
        self._leaving: set[WorkerId] = set()  # are taken away once they are idle
        self._starting: dict[WorkerId, float] = {}  # since when
        driver.drains.on_empty = self._emptied

    @property
    def elastic(self) -> bool:
        """Whether workers can be added and removed, not only drained."""
        return isinstance(self._engine, ElasticEngine)

    @property
    def there(self) -> list[WorkerId]:
        """Workers that take jobs, or will once they are up."""
        return [worker for worker in self._engine.workers if worker not in self._driver.drains]

    def state(self, worker: WorkerId) -> str:
        """ "up", "starting" (or starting again), "draining", "drained" or "leaving"."""
        if worker in self._leaving:
            return "leaving"
        if worker in self._driver.drains:
            return "draining" if self._driver.running(worker) else "drained"
        return "up" if worker in self._driver.workers_up else "starting"

    def add(self) -> WorkerId:
        """Start one more worker; it takes jobs as soon as it is ready. Raises InvalidInput where that cannot be."""
        engine = self._elastic_engine()
        if len(engine.workers) >= _MOST:
            raise InvalidInput(f"there are {len(engine.workers)}; that is the most", field="workers")
        worker = next(name for number in count() if (name := f"w{number}") not in engine.workers)
        try:
            engine.add(worker, self._roles)
        except ValueError as error:
            raise InvalidInput(str(error), field="workers") from None
        self._starting[worker] = asyncio.get_running_loop().time()
        _log.info("worker %s is started", worker)
        return worker

    def drain(self, worker: WorkerId) -> None:
        """Give it nothing new; what it runs goes on. It stays, and may be resumed.

        Raises InvalidInput for an unknown worker, and for the last that runs singles.
        """
        self._known(worker)
        if worker in self._driver.drains:
            return
        singles = {
            name
            for name, (roles, _) in self._driver.workers_up.items()
            if Role.SINGLE in roles and name not in self._driver.drains
        }
        if singles == {worker}:
            raise InvalidInput(f"{worker} is the last that runs singles; add another first", field="worker")
        _log.info("worker %s is drained", worker)
        self._driver.drain(worker)

    def resume(self, worker: WorkerId) -> None:
        """A drained worker takes jobs again, also one that was to leave. Raises InvalidInput for an unknown worker."""
        self._known(worker)
        self._leaving.discard(worker)
        if worker in self._driver.drains:
            _log.info("worker %s takes jobs again", worker)
            self._driver.resume(worker)

    def remove(self, worker: WorkerId) -> None:
        """Drain it, then stop it for good.

        Raises InvalidInput for an unknown worker, the last that runs singles, and one that was not started here.
        """
        engine = self._elastic_engine()
        self._known(worker)
        if not engine.removable(worker):
            raise InvalidInput(f"{worker} was not started here; it can be drained, not removed", field="worker")
        self.drain(worker)
        if worker in self._driver.drains:
            self._leaving.add(worker)
            if not self._driver.running(worker):
                self._emptied(worker)

    def scale_to(self, wanted: int) -> None:
        """So many workers that take jobs: the leaving come back first; the slow, then the young go first."""
        while len(self.there) < wanted:
            if self._leaving:
                self.resume(min(self._leaving))
            else:
                self.add()
        spare = len(self.there) - wanted
        for worker in self._dispensable()[: max(0, spare)]:
            self.remove(worker)

    def come_up(self) -> list[float]:
        """Start-up times, in seconds, of those that were added and have come up since the last call."""
        now = asyncio.get_running_loop().time()
        up = [worker for worker in self._starting if worker in self._driver.workers_up]
        return [now - self._starting.pop(worker) for worker in up]

    def _dispensable(self) -> list[WorkerId]:
        """Those that could go, the first to go first: not up, then the slowest, then the youngest."""
        engine = self._elastic_engine()
        seen = {view.worker: view for view in self._driver.view().workers}
        order = [worker for worker in self.there if engine.removable(worker)]
        if not all(self._roles <= view.roles for view in seen.values()):  # some are dedicated to backups: they stay
            order = [worker for worker in order if worker not in seen or seen[worker].roles == self._roles]

        def key(worker: WorkerId) -> tuple[bool, float, int]:
            view = seen.get(worker)
            slow = view is not None and view.speed is not None and view.speed < _SLOW
            speed = view.speed if slow and view is not None and view.speed is not None else 1.0
            return view is not None, speed, -order.index(worker)

        return sorted(order, key=key)

    def _emptied(self, worker: WorkerId) -> None:
        """A draining worker has nothing left to do."""
        if worker in self._leaving:
            self._leaving.discard(worker)
            self._starting.pop(worker, None)
            _log.info("worker %s leaves", worker)
            self._elastic_engine().remove(worker)
            self._driver.drains.end(worker)

    def _known(self, worker: WorkerId) -> None:
        if worker not in self._engine.workers:
            raise InvalidInput(f"no worker {worker[:60]!r}", field="worker")

    def _elastic_engine(self) -> ElasticEngine:
        if not isinstance(self._engine, ElasticEngine):
            raise InvalidInput("these workers were not started here; they can be drained, no more", field="workers")
        return self._engine


_SLOW = 0.75  # of the usual speed; above it, a difference may be chance
