"""One scripted scenario through the driver that serves, on a virtual clock, and through the simulator: same decisions.

Service times, crashes and arrivals are the same; who starts what where, what is cancelled, and which job answers must
be too, to the last of them, and at the same times.
"""

from __future__ import annotations

import asyncio
import math
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import pytest

from collage.codes import CheapCode, CollageCode, ParityCode, ReplicaCode
from collage.dispatch import Answer, Cancel, Dispatcher, Policy, Role, Source, Start, get_policy, worker_roles
from collage.engines import CancelEffect, Submission
from collage.imaging import Preprocessing
from collage.serving._driver import Driver
from collage.simulation import Scenario, make_scenario
from collage.simulation._arrivals import OpenLoop, poisson
from collage.simulation._fleet import Fleet
from collage.simulation._machines import Machine, make_machines
from collage.simulation._point import call_costs, job_capacities
from collage.simulation._simulator import Simulator
from collage.simulation._tally import Tally

from ..virtual import Clock

QUERIES = 250
PRE = Preprocessing(size=2, channels=1, mean=(0.0,), std=(1.0,))
SURE = 1000 * np.eye(4, dtype=np.float32)  # logits: a softmax of exactly 1
CODES = {
    Source.REPLICA: ReplicaCode(PRE, 3),
    Source.CHEAP: CheapCode(PRE, 3),
    Source.COLLAGE: CollageCode(2, PRE, 3),
    Source.PARITY: ParityCode(2, "sum", PRE, 3),
}


class ModelledEngine:
    """An engine as `serving` knows it, whose workers take the machines' times."""

    cancel_effect = CancelEffect.COOPERATIVE

    def __init__(self, clock: Clock, scenario: Scenario, machines: list[Machine]) -> None:
        self._clock, self._scenario = clock, scenario
        self._machines = {machine.name: machine for machine in machines}
        self._jobs: dict[int, tuple[str, float, Clock.Timer]] = {}
        self.workers = dict.fromkeys(self._machines)

    async def start(self, listener: Driver) -> None:
        self._listener = listener
        for name in self._machines:
            self._up(name)

    def _up(self, name: str) -> None:
        machine, crashes = self._machines[name], self._scenario.crashes
        self._listener.worker_up(name, machine.roles, 1)
        if crashes is not None:
            assert machine.failures is not None
            after = float(machine.failures.exponential(crashes.every))
            self._clock.call_at(self._clock.now + after, lambda: self._crash(name, crashes.restart))

    def _crash(self, name: str, restart: float) -> None:
        for job in [job for job, (worker, *_) in self._jobs.items() if worker == name]:
            self._jobs.pop(job)[2].cancel()
        self._listener.worker_down(name, "crashed")
        self._clock.call_at(self._clock.now + restart, lambda: self._up(name))

    def submit(self, job: Submission) -> None:
        drawn = self._machines[job.worker].times.draw(self._clock.now)
        seconds = self._scenario.cost(Source(job.role.value), 2).of(drawn)
        output = {Role.COLLAGE: SURE[[0] * 4, :3][None], Role.PARITY: 2 * SURE[[0], :3]}.get(job.role, SURE[[0], :3])

        def ended() -> None:
            del self._jobs[job.job]
            self._listener.job_completed(job.job, output, seconds)

        timer = self._clock.call_at(self._clock.now + seconds, ended)
        self._jobs[job.job] = (job.worker, self._clock.now, timer)

    def cancel(self, job: int) -> None:
        cancel = self._scenario.cancel
        if cancel.effect == "nothing":
            return
        _, began, ends = self._jobs[job]
        when = began + math.ceil((self._clock.now - began) / cancel.check) * cancel.check

        def freed() -> None:
            if self._jobs.pop(job, None) is not None:
                ends.cancel()
                self._listener.job_freed(job)

        self._clock.call_at(when, freed)

    async def stop(self) -> None: ...


def machines(policy: Policy, scenario: Scenario) -> list[Machine]:
    names = [f"w{index}" for index in range(scenario.workers)]
    return make_machines(scenario, worker_roles(policy, names), np.random.SeedSequence(7))


def decisions(said: list[tuple[float, Any]], first: int) -> list[Any]:
    """Without confidences, which are of the models; queries counted from 0."""
    found: list[Any] = []
    for when, action in said:
        match action:
            case Start(job, worker, source, queries):
                found.append((round(when, 9), "start", job, worker, source, tuple(query - first for query in queries)))
            case Cancel(job):
                found.append((round(when, 9), "cancel", job))
            case Answer(query, source, _, job, position):
                found.append((round(when, 9), "answer", query - first, source, job, position))
    return found


def served(dispatcher: Any, policy: Policy, scenario: Scenario, arrivals: list[float]) -> list[Any]:
    async def go() -> None:
        clock = Clock()
        backups = [CODES[code] for code in policy.codes if code is not Source.REPLICA]
        driver = Driver(dispatcher, CODES[Source.REPLICA], backups, clock=clock)
        await driver.start(ModelledEngine(clock, scenario, machines(policy, scenario)))  # type: ignore[arg-type]
        image, results = np.zeros((1, 2, 2), np.float32), []
        for arrival in arrivals:
            clock.call_at(arrival, lambda: results.append(driver.submit(image)))
        clock.run(lambda: len(results) == QUERIES and all(result.done() for result in results))

    asyncio.run(go())
    return decisions(dispatcher.said, 1)


def simulated(dispatcher: Any, policy: Policy, scenario: Scenario, arrivals: list[float]) -> list[Any]:
    tally = Tally(0, QUERIES, None, np.random.default_rng(0))
    simulator = Simulator(dispatcher, OpenLoop(chain(arrivals, repeat(math.inf))), tally)
    costs = call_costs(scenario, job_capacities(policy, 2, 2))
    simulator.begin(Fleet(simulator, scenario, machines(policy, scenario), costs, np.random.default_rng(0)))
    simulator.run()
    return decisions(dispatcher.said, 0)


@pytest.mark.parametrize("fault", [{}, {"cancel": {"effect": "cooperative"}}, {"crashes": {"every": 3, "restart": 1}}],
                         ids=["nothing", "cooperative", "crashes"])  # fmt: skip
@pytest.mark.parametrize("name", ["none", "replicate", "hedge", "cheap", "collage", "collage-dedicated", "parity"])
def test_driver_and_simulator_decide_alike(recorder: type[Dispatcher], name: str, fault: dict[str, Any]) -> None:
    policy = get_policy(name, warmup=30)
    scenario = make_scenario({"workers": 6, "load": 0.6, "times": {"kind": "profile", "slow_share": 0.1}} | fault)
    assert scenario.rate is not None
    arrivals = list(islice(poisson(np.random.default_rng(3), scenario.rate), QUERIES))
    made = [recorder(policy, capacity=job_capacities(policy, 2, 2), control_share=0.05) for _ in range(2)]
    serving = served(made[0], policy, scenario, arrivals)
    assert simulated(made[1], policy, scenario, arrivals) == serving
    kinds = {decision[1] for decision in serving}
    assert kinds >= {"start", "answer"}
    assert ("cancel" in kinds) == (name != "none")
    assert made[0].stats.backups_won > (2 if name != "none" else -1)
    assert (made[0].stats.failed.total() > 2) == ("crashes" in fault)
