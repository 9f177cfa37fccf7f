"""What becomes of a job between its start and its end: the way there, waiting, computing, stopping, crashing.

Events are put on the simulator's heap, and what the dispatcher must know is told to it. A job's time is drawn when it
begins to compute, so that it is one of its worker's own stream, whatever the policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from collage.dispatch import Dispatcher, JobId, Source, Start, WorkerState
from collage.simulation._costs import CallCost
from collage.simulation._machines import Machine, Run
from collage.simulation._scenario import Scenario
from collage.simulation._speed import finish


class Stage(Protocol):
    """What a fleet needs of the simulator."""

    dispatcher: Dispatcher
    now: float

    def at(self, when: float, call: Callable[[Any], None], what: Any) -> None:
        """Call `call(what)` at that time."""

    def tell(self, event: Callable[..., Any], *details: Any) -> None:
        """Tell the dispatcher, once what is being done is done."""

    def ended(self, start: Start) -> None:
        """A job's output is there."""


class Fleet:
    """All workers. costs: of a call by source and capacity; rng: of what the network adds."""

    def __init__(
        self,
        stage: Stage,
        scenario: Scenario,
        machines: Sequence[Machine],
        costs: Mapping[tuple[Source, int], CallCost],
        rng: np.random.Generator,
    ) -> None:
        self._stage, self._scenario, self._costs, self._rng = stage, scenario, costs, rng
        self._machines = {machine.name: machine for machine in machines}
        self._network = scenario.network
        self._slots = 1 if scenario.network is None else scenario.network.slots
        self._runs: dict[JobId, Run] = {}  # that take a slot
        self._computed = 0.0  # worker-seconds, of running jobs up to their ends
        self._slow_above = scenario.times.build().slow_above if scenario.oracle else None  # a draw, as an oracle tells
        for machine in machines:
            self._up(machine)
            self._await_crash(machine, 0.0)

    # What the dispatcher says.

    def start(self, start: Start) -> None:
        """A job is sent to its worker."""
        run = self._runs[start.job] = Run(start, self._machines[start.worker])
        if self._network is None:
            self._arrive(run)
        else:
            self._travel(self._arrive, run)

    def cancel(self, job: JobId) -> None:
        """Nobody needs it any more."""
        if self._scenario.cancel.effect != "nothing" and (run := self._runs.get(job)) is not None:
            self._travel(self._stop, run)

    def computed(self, now: float) -> float:
        """Worker-seconds computed until now."""
        ahead = sum(m.running.ends - now for m in self._machines.values() if m.running is not None)
        return self._computed - ahead

    @property
    def idle(self) -> bool:
        """Whether no job is anywhere."""
        return not self._runs

    # On the way and at the worker.

    def _travel(self, there: Callable[[Run], None], run: Run) -> None:
        if self._network is None:
            there(run)
            return
        way = self._network.delay
        if self._network.jitter:
            way += float(self._rng.exponential(self._network.jitter))
        self._stage.at(self._stage.now + way, there, run)

    def _arrive(self, run: Run) -> None:
        if run.over:
            return
        if run.machine.running is None:
            self._begin(run)
        else:
            run.machine.waiting.append(run)

    def _begin(self, run: Run) -> None:
        machine, stage, source = run.machine, self._stage, run.start.source
        now, cost, queries = stage.now, self._costs[source, run.start.capacity], run.start.queries
        seconds = cost.of(machine.times.draw(now), len(queries))
        ends = finish(machine.phases, now, seconds) if machine.phases else now + seconds
        machine.running, run.began, run.ends = run, now, ends
        self._computed += ends - now
        stage.at(ends, self._end, run)
        known = self._slow_above
        if known is not None and source is Source.SINGLE and ends - now > cost.of(known, len(queries)):
            for query in queries:
                stage.tell(stage.dispatcher.hurry, query)

    def _end(self, run: Run) -> None:
        if run.over:
            return
        run.over = True
        self._next(run.machine)
        if self._network is None:
            self._deliver(run)
        else:
            self._travel(self._deliver, run)

    def _next(self, machine: Machine) -> None:
        machine.running = None
        while machine.waiting and machine.running is None:
            run = machine.waiting.popleft()
            if not run.over:
                self._begin(run)

    def _deliver(self, run: Run) -> None:
        if self._runs.pop(run.start.job, None) is not None:
            self._stage.ended(run.start)

    # Stopping.

    def _stop(self, run: Run) -> None:
        if run.over:
            return
        machine, now, cancel = run.machine, self._stage.now, self._scenario.cancel
        if machine.running is not run:
            run.over = True
            self._travel(self._freed, run)
        elif cancel.effect == "cooperative":
            checks = math.ceil((now - run.began) / cancel.check)
            when = max(now, run.began + checks * cancel.check)
            if when < run.ends:
                self._cut(run, when)
                self._stage.at(when, self._halt, run)
        else:
            # The slot is free at once, but of a worker that is not there: it must not be given another job.
            tell, dispatcher = self._stage.tell, self._stage.dispatcher
            tell(dispatcher.worker, machine.name, WorkerState.DRAINING, machine.roles, self._slots)
            self._cut(run, now)
            self._freed(run)
            self._down(machine, cancel.restart)

    def _cut(self, run: Run, when: float) -> None:
        self._computed -= run.ends - when
        run.ends, run.over = when, True

    def _halt(self, run: Run) -> None:
        if run.machine.running is run:
            self._next(run.machine)
            self._travel(self._freed, run)

    def _freed(self, run: Run) -> None:
        if self._runs.pop(run.start.job, None) is not None:
            self._stage.tell(self._stage.dispatcher.freed, run.start.job)

    # Coming and going.

    def _up(self, machine: Machine) -> None:
        machine.up = True
        stage = self._stage
        stage.tell(stage.dispatcher.worker, machine.name, WorkerState.UP, machine.roles, self._slots)

    def _await_crash(self, machine: Machine, since: float) -> None:
        """By the clock, whatever else happens to the machine, so that it crashes alike under every policy."""
        if machine.failures is not None and self._scenario.crashes is not None:
            after = float(machine.failures.exponential(self._scenario.crashes.every))
            self._stage.at(since + after, self._crash, machine)

    def _crash(self, machine: Machine) -> None:
        assert self._scenario.crashes is not None
        restart = self._scenario.crashes.restart
        if machine.up:  # else it is being restarted
            self._down(machine, restart)
        self._await_crash(machine, self._stage.now + restart)

    def _down(self, machine: Machine, restart: float) -> None:
        if machine.running is not None and machine.running.ends > self._stage.now:
            self._cut(machine.running, self._stage.now)
        machine.up, machine.running = False, None
        machine.waiting.clear()
        for run in [run for run in self._runs.values() if run.machine is machine]:
            run.over = True
            del self._runs[run.start.job]
        stage = self._stage
        stage.tell(stage.dispatcher.worker, machine.name, WorkerState.DOWN, machine.roles, 0)
        stage.at(stage.now + restart, self._up, machine)
