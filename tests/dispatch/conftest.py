"""A dispatcher on a stage: the test is client, workers and clock at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from collage.dispatch import (
    Action,
    Answer,
    Cancel,
    Decode,
    Dispatcher,
    Outcome,
    Policy,
    Reject,
    Settled,
    Source,
    Start,
    WorkerState,
    get_policy,
    worker_roles,
)

KNOWN = Outcome(True, 0.9)
UNKNOWN = Outcome(False, 0.0)


class Stage:
    """Keeps what the dispatcher said: running jobs, answers, rejections, cancellations."""

    def __init__(self, policy: Policy, workers: int, capacity: int | tuple[int, ...] = 9, **settings: Any) -> None:
        grouped = policy.code is not None and policy.code.shared
        settings = {"control_share": 0.0} | settings
        self.dispatcher = Dispatcher(policy, capacity=capacity if grouped else 1, **settings)
        self.now = 0.0
        self.running: dict[int, Start] = {}
        self.said: list[Action] = []
        self._query = 0
        names = [f"w{index}" for index in range(workers)]
        for name, roles in worker_roles(policy, names).items():
            self.do(self.dispatcher.worker(name, WorkerState.UP, roles, 1, 0.0))

    def do(self, actions: Sequence[Action]) -> list[Action]:
        self.said += actions
        for action in actions:
            if isinstance(action, Start):
                self.running[action.job] = action
        return list(actions)

    def learn(self, seconds: float = 1.0, spread: float = 0.1, count: int = 100) -> None:
        """Singles of `seconds` to `seconds + spread`, evenly: as many as it takes before anything is called late."""
        for index in range(count):
            query = self.submit()
            self.pass_to(self.now + seconds + spread * index / count)
            self.complete(self.job_of(query))
        self.said.clear()

    def submit(
        self, key: str = "", within: float | None = None, accept_degraded: bool = True, image: str | None = None
    ) -> int:
        self._query += 1
        deadline = None if within is None else self.now + within
        self.do(self.dispatcher.submit(self._query, key, deadline, accept_degraded, self.now, digest=image))
        return self._query

    def pass_to(self, until: float) -> None:
        """Time passes, and the dispatcher is woken when it wants."""
        while (wake := self.dispatcher.next_tick) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.do(self.dispatcher.tick(self.now))
        self.now = until

    def wait(self, seconds: float) -> None:
        self.pass_to(self.now + seconds)

    def complete(self, job: int, *outcomes: Outcome) -> None:
        queries = self.running.pop(job).queries
        self.do(self.dispatcher.completed(job, outcomes or [KNOWN] * len(queries), self.now))

    def decodes(self) -> list[tuple[int, int]]:
        """Jobs and positions that the driver was asked to read, in this order."""
        return [(action.job, action.position) for action in self.said if isinstance(action, Decode)]

    def decoded(self, job: int, position: int, outcome: Outcome = KNOWN) -> None:
        self.do(self.dispatcher.decoded(job, position, outcome, self.now))

    def fail(self, job: int) -> None:
        del self.running[job]
        self.do(self.dispatcher.failed(job, "garbage", self.now))

    def free(self, job: int) -> None:
        del self.running[job]
        self.do(self.dispatcher.freed(job, self.now))

    def lose(self, worker: str) -> None:
        self.running = {job: start for job, start in self.running.items() if start.worker != worker}
        self.do(self.dispatcher.worker(worker, WorkerState.DOWN, frozenset(), 0, self.now))

    def job_of(self, query: int, source: Source = Source.SINGLE) -> int:
        """The running job of this kind that the query is in."""
        (job,) = [job for job, s in self.running.items() if query in s.queries and s.source is source]
        return job

    def backups(self) -> list[Start]:
        return [start for start in self.running.values() if start.source is not Source.SINGLE]

    def answers(self) -> dict[int, Source]:
        return {action.query: action.source for action in self.said if isinstance(action, Answer)}

    def rejections(self) -> dict[int, str]:
        return {action.query: action.why.value for action in self.said if isinstance(action, Reject)}

    def cancelled(self) -> list[int]:
        return [action.job for action in self.said if isinstance(action, Cancel)]

    def settled(self) -> list[int]:
        return [action.query for action in self.said if isinstance(action, Settled)]


@pytest.fixture
def stage() -> Any:
    """stage("collage", workers=4, **changes of the policy)"""

    def make(
        name: str,
        workers: int = 4,
        capacity: int | tuple[int, ...] = 9,
        settings: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Stage:
        return Stage(get_policy(name, **({"warmup": 100} | changes)), workers, capacity, **(settings or {}))

    return make
