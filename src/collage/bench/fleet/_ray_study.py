"""A node of a Ray cluster killed under load, and another that joins: what becomes of the queries."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from collage.bench.fleet._ray_nodes import RayNodes, ray_nodes
from collage.engines import RayEngine
from collage.exceptions import CollageError
from collage.serving import Classified, DataPlane, Encoded, load_settings
from collage.zoo import sample_images

_SPREAD = 0.3  # sigma of a job's padded time, of its logarithm
_LOOK_SECONDS = 0.1
_LATEST_SECONDS = 120.0  # for all workers to be up, after which the study goes on without them


@dataclass(frozen=True)
class RayPlan:
    """As many workers as there is room for once a node is gone; as many more as it has room for, when one joins."""

    nodes: int = 3
    cpus: int = 2  # of each node, one worker each
    load: float = 1.6  # workers that singles keep busy
    job_seconds: float = 0.25  # that a worker holds a job for, in the mean
    calm_seconds: float = 40.0  # before the node is killed; once all workers are up again; and once the new ones are
    policy: str = "collage"
    seed: int = 0

    @property
    def workers(self) -> int:
        """At the start."""
        return (self.nodes - 1) * self.cpus


class RayMoment(NamedTuple):
    """One look: workers that are up, by the node they are on, in the order in which nodes joined."""

    seconds: float
    nodes: int
    workers_up: int
    by_node: tuple[int, ...]


class Asked(NamedTuple):
    """One query. seconds: its latency, NaN where there was no answer; source: of the answer, or why there was none."""

    arrival: float
    seconds: float
    source: str
    wrong: bool  # not degraded, and another class than the single's own


@dataclass
class RayResult:
    """What came of it; times in seconds since the first moment. NaN: it did not happen."""

    plan: RayPlan
    killed: float = float("nan")
    noticed: float = float("nan")  # a worker was down
    recovered: float = float("nan")  # all workers were up again, on other nodes
    joined: float = float("nan")
    grown: float = float("nan")  # the added workers were up, too
    workers_killed: int = 0
    answers: int = 0  # that the gateway gave
    moments: list[RayMoment] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)


def run_ray(plan: RayPlan, told: Callable[[str], None] = lambda stage: None) -> RayResult:
    """Run it, in the plan's own time. told: what happens. Raises SettingsError without Ray."""
    return asyncio.run(_run(plan, told))


async def _run(plan: RayPlan, told: Callable[[str], None]) -> RayResult:
    told("starting a cluster")
    async with ray_nodes(plan.nodes, plan.cpus) as cluster:
        draw = random.Random(plan.seed)
        scale = plan.job_seconds / float(np.exp(_SPREAD**2 / 2))
        settings = load_settings(
            engine="ray", ray_address=cluster.address, workers=plan.workers, policy=plan.policy, max_queue=10_000
        )
        plane = DataPlane(settings, hold=lambda *_: scale * draw.lognormvariate(0.0, _SPREAD))
        await plane.start()
        try:
            return await _Study(plan, cluster, plane, told).run()
        finally:
            await plane.stop()


class _Study:
    def __init__(self, plan: RayPlan, cluster: RayNodes, plane: DataPlane, told: Callable[[str], None]) -> None:
        self._plan, self._cluster, self._plane, self._told = plan, cluster, plane, told
        self._images = [sample.path.read_bytes() for sample in sample_images()]
        self._labels: list[str] = []
        self._columns = list(cluster.nodes)  # every node there ever was
        self._result = RayResult(plan)
        self._over = False
        self._began = 0.0

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> RayResult:
        await self._until(lambda: self._up == self._plan.workers)
        self._labels = [(await self._ask(image, alone=True)).label for image in self._images]
        self._plane.on_answered.append(self._count)
        self._began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        loading = asyncio.create_task(self._load())
        try:
            await self._happen()
        finally:
            self._over = True
            await asyncio.gather(watching, loading)
        self._result.asked.sort()
        return self._result

    async def _happen(self) -> None:
        plan, result, engine = self._plan, self._result, self._plane.engine
        assert isinstance(engine, RayEngine)
        self._told("all is well")
        await asyncio.sleep(plan.calm_seconds)

        there = Counter(node for node, _ in engine.places.values())
        victim = max(self._cluster.nodes[1:], key=lambda node: there[node])
        self._told(f"a node with {there[victim]} workers is killed")
        result.workers_killed, result.killed = there[victim], self._now
        await self._cluster.remove(victim)
        if await self._until(lambda: self._up < plan.workers):
            result.noticed = self._now
        if await self._until(lambda: self._up == plan.workers):
            result.recovered = self._now
        self._told("its workers are up elsewhere")
        await asyncio.sleep(plan.calm_seconds)

        self._told("a node joins")
        result.joined = self._now
        self._columns.append(await self._cluster.add())
        assert self._plane.roster is not None
        for _ in range(plan.cpus):
            self._plane.roster.add()
        if await self._until(lambda: self._up == plan.workers + plan.cpus):
            result.grown = self._now
        self._told("more workers are up")
        await asyncio.sleep(plan.calm_seconds)

    async def _load(self) -> None:
        """Poisson arrivals, without an end of their own: how long it takes is seen as it happens."""
        rng = np.random.default_rng(self._plan.seed)
        rate = self._plan.load / self._plan.job_seconds
        asking: set[asyncio.Task[None]] = set()
        at = 0.0
        while not self._over:
            at += float(rng.exponential(1 / rate))
            await asyncio.sleep(max(0.0, at - self._now))
            task = asyncio.create_task(self._send(len(asking), at))
            asking.add(task)
        await asyncio.gather(*asking)

    async def _send(self, number: int, arrival: float) -> None:
        which = number % len(self._images)
        try:
            answer = await self._ask(self._images[which])
        except CollageError as error:
            self._result.asked.append(Asked(arrival, float("nan"), str(error), False))
            return
        wrong = not answer.degraded and answer.label != self._labels[which]
        self._result.asked.append(Asked(arrival, self._now - arrival, answer.source.value, wrong))

    async def _ask(self, image: bytes, *, alone: bool = False) -> Classified:
        (answer,) = await self._plane.classify([Encoded(image)], deadline=60.0, accept_degraded=not alone)
        return answer

    async def _watch(self) -> None:
        engine = self._plane.engine
        assert isinstance(engine, RayEngine)
        while not self._over:
            there = Counter(node for node, _ in engine.places.values())
            by_node = tuple(there[node] for node in self._columns)
            self._result.moments.append(RayMoment(self._now, len(self._cluster.nodes), sum(by_node), by_node))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until(self, true: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(_LATEST_SECONDS):
                while not true():
                    await asyncio.sleep(_LOOK_SECONDS / 5)
        except TimeoutError:
            return False
        return True

    @property
    def _up(self) -> int:
        return len(self._plane.view().workers)

    def _count(self, _answer: Classified) -> None:
        self._result.answers += 1
