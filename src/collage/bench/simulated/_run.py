"""Points on several cores. Each that ends is kept at once; one that was stopped is run again from its beginning."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple

from collage.bench.simulated._expand import Point
from collage.bench.simulated._journal import PointJournal
from collage.simulation import PointResult, run_point

_POLL = 0.5  # seconds between two looks at how far the running points are


class Step(NamedTuple):
    """How far a run is. queries: of all points, so far; done: the point that has just ended, and what came of it."""

    queries: int
    done: tuple[Point, PointResult] | None = None


OnStep = Callable[[Step], None]


def run_points(
    points: Sequence[Point], journal: PointJournal, *, jobs: int = 1, on_step: OnStep = lambda step: None
) -> None:
    """Run what the journal does not have yet. jobs: processes at a time; 1 runs everything in this one.

    Points that are the same in all that matters are run once. A KeyboardInterrupt ends the processes, whatever they
    are at, and is raised on; so is what a point raises.
    """
    left = [point for point in _once(points) if journal.find(point) is None]
    finished = total_queries(points) - total_queries(left)
    on_step(Step(finished))
    if jobs == 1 or len(left) < 2:
        _here(left, finished, journal, on_step)
    else:
        _beside(left, finished, journal, on_step, min(jobs, len(left)))


def total_queries(points: Sequence[Point]) -> int:
    """What `Step.queries` comes to when all points are done."""
    return sum(map(_length, _once(points)))


def _once(points: Sequence[Point]) -> list[Point]:
    return list({point.key: point for point in points}.values())


def _length(point: Point) -> int:
    return point.queries + point.warmup


def _run(point: Point, progress: Callable[[int], None]) -> PointResult:
    tried = point.tried
    return run_point(
        tried.policy, tried.scenario, queries=point.queries, seed=point.seed, warmup=point.warmup, grid=tried.grid,
        k=tried.k, progress=progress,
    )  # fmt: skip


def _here(left: Sequence[Point], finished: int, journal: PointJournal, on_step: OnStep) -> None:
    for point in left:

        def arrived(count: int) -> None:
            on_step(Step(finished + count))  # noqa: B023 (called before the next turn)

        result = _run(point, arrived)
        finished += _length(point)
        journal.add(point, result)
        on_step(Step(finished, (point, result)))


def _beside(left: Sequence[Point], finished: int, journal: PointJournal, on_step: OnStep, jobs: int) -> None:
    # A fresh interpreter for each process: a fork would copy whatever threads this one has.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(jobs, context, _begin, (counter, stop))
    try:
        with _interrupts() as interrupted:
            with _unheard_by_children():
                running: dict[Future[PointResult], Point] = {pool.submit(_run_counted, point): point for point in left}
            while running and not interrupted:
                ended, _ = wait(running, _POLL, FIRST_COMPLETED)
                for future in ended:
                    point = running.pop(future)
                    result = future.result()
                    journal.add(point, result)
                    on_step(Step(finished + counter.value, (point, result)))
                on_step(Step(finished + counter.value))
        if interrupted:
            raise KeyboardInterrupt
    except BaseException:
        # A point may take minutes, and nothing of it is kept: each ends at its next thousand of queries. A process that
        # were killed could leave the pool's own locks held, and this one waiting for them.
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Signals of Ctrl-C, for the loop to look at: as an exception, one could come while the pool's locks are held."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal is ever handled
        yield came
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _unheard_by_children() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C, from their birth on: it is the parent's, who stops them itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In a process of the pool: queries that all of them have simulated, and whether they are to stop.
_counter: Any = None
_stop: Any = None


def _begin(counter: Any, stop: Any) -> None:
    """What a process of the pool starts with."""
    global _counter, _stop
    _counter, _stop = counter, stop


def _run_counted(point: Point) -> PointResult:
    counted = 0

    def arrived(count: int) -> None:
        nonlocal counted
        if _stop.is_set():
            raise InterruptedError
        with _counter.get_lock():
            _counter.value += count - counted
        counted = count

    result = _run(point, arrived)
    arrived(_length(point))
    return result
