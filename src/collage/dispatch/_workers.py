"""Who is there, what each may run, and who is free. No policy in here."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from statistics import median

from collage.dispatch._events import JobId, Role, WorkerId
from collage.dispatch._stats import WorkerView


@dataclass(eq=False, slots=True)
class Worker:
    """A worker that has joined and is not gone."""

    id: WorkerId
    roles: frozenset[Role]
    slots: int
    draining: bool = False
    paused_until: float = 0.0  # after failures
    failures: int = 0  # in a row
    silent: set[JobId] = field(default_factory=set)  # jobs that are long overdue: it gets no others meanwhile
    jobs: dict[JobId, float] = field(default_factory=dict)  # running, with their start
    done: int = 0
    failed: int = 0
    excess: float | None = None  # slowness of its last single, less 1
    slowness: float = 1.0  # predicted, while it is called slow: a single's time over the usual one
    slow_until: float = 0.0  # it is given less until then
    steady: int = 0  # its slots, where it takes singles and is not slow
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=25))  # seconds of its last singles

    def free(self, now: float) -> bool:
        """Whether it may be given a job."""
        return len(self.jobs) < self.slots and not self.draining and not self.silent and self.paused_until <= now

    def view(self, usual: float | None, now: float) -> WorkerView:
        """The moment. usual: median time of all workers' singles, if known."""
        if self.draining:
            state = "draining"
        elif self.silent:
            state = "silent"
        elif self.paused_until > now:
            state = "pausing"
        else:
            state = "busy" if self.jobs else "idle"
        return WorkerView(
            worker=self.id,
            state=state,
            roles=self.roles,
            slots=self.slots,
            jobs=len(self.jobs),
            running=max((now - started for started in self.jobs.values()), default=0.0),
            speed=usual / max(1e-9, median(self.recent)) if usual and self.recent else None,
            done=self.done,
            failed=self.failed,
        )


_Free = dict[frozenset[Role], dict[WorkerId, Worker]]


class WorkerPool:
    """All workers; `find` gives a free one in constant time, the one that has been free for longest first."""

    def __init__(self) -> None:
        self._workers: dict[WorkerId, Worker] = {}
        # Free workers by what they may run, in the order in which they became free; and those of them that are slow.
        self._free: _Free = {}
        self._slow: _Free = {}
        self.steady = 0  # slots of workers that take singles and are not slow, free or not

    def __getitem__(self, worker: WorkerId) -> Worker:
        return self._workers[worker]

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def get(self, worker: WorkerId) -> Worker | None:
        """The worker, if it is there."""
        return self._workers.get(worker)

    def join(self, worker: WorkerId, roles: frozenset[Role], slots: int, now: float) -> Worker:
        """A worker that may be given jobs from now on; one that is there already is told what has changed."""
        known = self._workers.get(worker)
        if known is None:
            known = self._workers[worker] = Worker(worker, roles, slots)
        else:
            self._forget_free(known)
            known.roles, known.slots, known.draining = roles, slots, False
        self.update(known, now)
        return known

    def drain(self, worker: WorkerId, now: float) -> None:
        """The worker gets no more jobs."""
        known = self._workers.get(worker)
        if known is not None:
            known.draining = True
            self.update(known, now)

    def leave(self, worker: WorkerId) -> Worker | None:
        """The worker is gone; returns it as it was."""
        known = self._workers.pop(worker, None)
        if known is not None:
            self._forget_free(known)
        return known

    def update(self, worker: Worker, now: float) -> None:
        """To be called after every change of a worker: keeps the lists of the free."""
        name, roles = worker.id, worker.roles
        free = self._free.get(roles)
        if free is None:
            free = self._free[roles] = {}
        else:
            free.pop(name, None)
        slow = worker.slow_until > now
        if slow or self._slow:
            self._slow.setdefault(roles, {}).pop(name, None)
            free = self._slow[roles] if slow else free
        there = name in self._workers
        if there and worker.free(now):
            free[name] = worker  # at the end: one that has just got a job is the last to get another
        takes = there and not (slow or worker.draining or worker.silent) and worker.paused_until <= now
        steady = worker.slots if takes and Role.SINGLE in roles else 0
        self.steady += steady - worker.steady
        worker.steady = steady

    def find(self, role: Role, avoid: Collection[JobId] = ()) -> Worker | None:
        """A free worker that may run `role`: of those that may run least else, the longest free.

        `avoid`: jobs whose workers are taken only if there is no other. A slow one only where all are.
        """
        found = _find(self._free, role, avoid)
        return self.find_slow(role, avoid) if found is None and not self.steady else found

    def find_slow(self, role: Role, avoid: Collection[JobId] = ()) -> Worker | None:
        """The same among those that are slow."""
        return _find(self._slow, role, avoid) if self._slow else None

    def can(self, role: Role) -> bool:
        """Whether any worker, free or not, may run `role`, now or after what it runs."""
        return any(
            role in worker.roles and not worker.draining and not worker.silent for worker in self._workers.values()
        )

    def slots(self, role: Role) -> int:
        """Jobs that workers which may run `role` can run at once."""
        return sum(
            worker.slots
            for worker in self._workers.values()
            if role in worker.roles and not worker.draining and not worker.silent
        )

    def free_slots(self, role: Role) -> int:
        """Jobs that could start now on workers that may run `role`; none where only slow ones are free."""
        return sum(
            worker.slots - len(worker.jobs)
            for roles, free in self._free.items()
            if role in roles
            for worker in free.values()
        )

    def _forget_free(self, worker: Worker) -> None:
        for free in (self._free, self._slow):
            free.get(worker.roles, {}).pop(worker.id, None)
        self.steady -= worker.steady
        worker.steady = 0


def _find(free_by_roles: _Free, role: Role, avoid: Collection[JobId]) -> Worker | None:
    spare: Worker | None = None
    best: Worker | None = None
    for roles, free in free_by_roles.items():
        if not free or role not in roles or (best is not None and len(roles) >= len(best.roles)):
            continue
        for worker in free.values():
            if not avoid or not worker.jobs or worker.jobs.keys().isdisjoint(avoid):
                best = worker
                break
            spare = spare or worker
    return best or spare
