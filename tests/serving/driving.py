"""The driver on a stage: a dispatcher that says what the test wants, an engine that records, a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from collage.codes import CollageCode, ReplicaCode
from collage.dispatch import (
    Action,
    Role,
)
from collage.engines import CancelEffect, Submission
from collage.imaging import Preprocessing
from collage.serving._driver import Driver
from collage.serving._kept import BackupJob
from collage.serving._story import QueryStory

from ..virtual import Clock

PRE = Preprocessing(size=2, channels=1, mean=(0.0,), std=(1.0,))
ROLES = frozenset({Role.SINGLE, Role.COLLAGE})


class Script:
    """A dispatcher without a mind: records events, answers each with what was put down for it."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.answers: dict[str, list[list[Action]]] = {}
        self.next_tick: float | None = None

    def on(self, event: str, *actions: Action) -> None:
        """The next event of this name brings these actions."""
        self.answers.setdefault(event, []).append(list(actions))

    def __getattr__(self, name: str) -> Callable[..., list[Action]]:
        def event(*details: Any, digest: bytes | None = None) -> list[Action]:
            self.events.append((name, *details))
            queued = self.answers.get(name)
            return queued.pop(0) if queued else []

        return event


class Jobs:
    """An engine that records jobs; `refuses`: submit raises."""

    cancel_effect = CancelEffect.NOTHING

    def __init__(self) -> None:
        self.submitted: list[tuple[int, str, Role, np.ndarray]] = []
        self.cancelled: list[int] = []
        self.refuses = False
        self.workers = ["a", "b"]

    async def start(self, listener: Driver) -> None:
        listener.worker_up("a", ROLES, 1)

    def submit(self, job: Submission) -> None:
        if self.refuses:
            raise ValueError("worker a is busy")
        self.submitted.append((job.job, job.worker, job.role, job.inputs.copy()))

    def cancel(self, job: int) -> None:
        self.cancelled.append(job)

    async def stop(self) -> None: ...


class Stage:
    """All of them, put together."""

    def __init__(self) -> None:
        self.dispatcher, self.engine, self.clock = Script(), Jobs(), Clock()
        self.seen: list[tuple[int, set[int]]] = []
        self.stories: list[QueryStory] = []
        self.driver = Driver(
            self.dispatcher,  # type: ignore[arg-type]
            ReplicaCode(PRE, 3),
            [CollageCode(2, PRE, 3, unknown=True)],
            clock=self.clock,
            on_collage=self._on_collage,
            on_settled=self.stories.append,
        )

    def _on_collage(self, job: BackupJob) -> None:
        self.seen.append((job.job, set(job.used)))

    def submit(self, brightness: float, *actions: Action) -> asyncio.Future[Any]:
        """A query whose tile is brighter by one than what the single gets."""
        self.dispatcher.on("submit", *actions)
        return self.driver.submit(image(brightness), [image(brightness + 1)], key="k", deadline=9.0)

    def events(self, name: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.dispatcher.events if event[0] == name]


def image(brightness: float) -> np.ndarray:
    return np.full((1, 2, 2), brightness, np.float32)


def scores(best: int) -> np.ndarray:
    """(1, 3), what a single says."""
    return np.eye(3, dtype=np.float32)[best][None] * 5


def tiles(*best: int | None) -> np.ndarray:
    """(1, 4, 4), what the collage-cnn says; None: unknown."""
    rows = [np.eye(4, dtype=np.float32)[3 if index is None else index] * 5 for index in best]
    return np.stack(rows + [np.eye(4, dtype=np.float32)[3]] * (4 - len(rows)))[None]


def staged(test: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            stage = Stage()
            await stage.driver.start(stage.engine)
            await test(stage)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run
