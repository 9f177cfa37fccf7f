"""One pool of workers and several gateways: what each gateway knows of the workers, and who runs what next.

A gateway's dispatcher believes that a worker with a free slot runs its job at once. With `own` and `lend` that is so:
a worker is one gateway's at a time. With the others a job may wait behind another gateway's, and the gateway that sent
it sees no more than a job that takes long. A job that waits is dropped when it is cancelled; one that runs, runs to
its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collage.dispatch import JobId, Source, Start, WorkerState
from collage.simulation._costs import CallCost
from collage.simulation._desks import Desk, Desks
from collage.simulation._machines import Machine
from collage.simulation._scenario import Scenario
from collage.simulation._speed import finish


@dataclass(eq=False, slots=True)
class Sent:
    """A job on its way, waiting, or running."""

    desk: Desk
    start: Start
    place: Place | None = None  # where it waits or runs
    began: bool = False
    over: bool = False


@dataclass(eq=False, slots=True)
class Place:
    """A worker of the pool: it runs one job, others wait their turn."""

    number: int
    machine: Machine
    running: Sent | None = None
    waiting: deque[Sent] = field(default_factory=deque)
    owner: Desk | None = None  # whose it is; None: everybody's


class Pool:
    """Workers that everybody sends to, each with a queue of its own: `blind`. The other designs differ from it.

    costs: of a call by source and capacity. rng: of what the network adds, and of choices.
    """

    def __init__(
        self,
        desks: Desks,
        scenario: Scenario,
        machines: Sequence[Machine],
        costs: Mapping[tuple[Source, int], CallCost],
        rng: np.random.Generator,
    ) -> None:
        assert scenario.gateways is not None
        self._desks, self._design, self._costs, self._rng = desks, scenario.gateways, costs, rng
        self._network = scenario.network
        self._places = [Place(number, machine) for number, machine in enumerate(machines)]
        self._by_name = {place.machine.name: place for place in self._places}
        self._sent: dict[tuple[int, JobId], Sent] = {}
        self.computed = self.extra = 0.0  # worker-seconds of jobs that have begun; of them beyond the singles'
        self.moved = 0  # workers that went to another gateway
        self._join()

    def _join(self) -> None:
        # In an order of its own for each gateway: dispatchers take who has been free for longest, and in one order all
        # would send to the same workers at the same time.
        for desk in self._desks.desks:
            for number in self._rng.permutation(len(self._places)).tolist():
                self._tell(desk, self._places[number], WorkerState.UP)

    def _tell(self, desk: Desk, place: Place, state: WorkerState) -> None:
        slots = 0 if state is WorkerState.DOWN else 1
        self._desks.tell(desk, desk.dispatcher.worker, place.machine.name, state, place.machine.roles, slots)

    # What a dispatcher says.

    def start(self, desk: Desk, start: Start) -> None:
        """A gateway sends a job to the worker that its dispatcher chose."""
        sent = self._sent[desk.number, start.job] = Sent(desk, start)
        self._send(sent, self._by_name[start.worker])

    def cancel(self, desk: Desk, job: JobId) -> None:
        """Nobody needs it any more. It is dropped where it waits."""
        sent = self._sent.get((desk.number, job))
        if sent is not None and not sent.began:
            self._travel(self._drop, sent)

    # On the way.

    def _travel(self, there: Callable[[Sent], None], sent: Sent, ways: int = 1) -> None:
        network = self._network
        if network is None:
            there(sent)
            return
        seconds = network.delay * ways
        if network.jitter:
            seconds += float(self._rng.exponential(network.jitter, ways).sum())
        self._desks.at(self._desks.now + seconds, there, sent)

    def _send(self, sent: Sent, place: Place) -> None:
        sent.place = place
        self._travel(self._arrive, sent)

    def _arrive(self, sent: Sent) -> None:
        place = sent.place
        assert place is not None
        if sent.over:
            return
        if place.running is None:
            self._begin(sent, place)
        else:
            place.waiting.append(sent)

    def _drop(self, sent: Sent) -> None:
        if not sent.began and not sent.over:
            sent.over = True
            self._travel(self._freed, sent)

    def _freed(self, sent: Sent) -> None:
        del self._sent[sent.desk.number, sent.start.job]
        self._desks.tell(sent.desk, sent.desk.dispatcher.freed, sent.start.job)

    # At the worker.

    def _begin(self, sent: Sent, place: Place) -> None:
        machine, now, start = place.machine, self._desks.now, sent.start
        cost = self._costs[start.source, start.capacity]
        seconds = cost.of(machine.times.draw(now), len(start.queries))
        ends = finish(machine.phases, now, seconds) if machine.phases else now + seconds
        place.running, sent.began, sent.place = sent, True, place
        self.computed += ends - now
        if start.source is not Source.SINGLE:
            self.extra += ends - now
        self._desks.at(ends, self._end, sent)

    def _end(self, sent: Sent) -> None:
        place = sent.place
        assert place is not None
        place.running, sent.over = None, True
        self._next(place)
        self._travel(self._deliver, sent)

    def _next(self, place: Place) -> None:
        while place.waiting and place.running is None:
            sent = place.waiting.popleft()
            if not sent.over:
                self._begin(sent, place)

    def _deliver(self, sent: Sent) -> None:
        del self._sent[sent.desk.number, sent.start.job]
        self._desks.ended(sent.desk, sent.start)


class _Probe(Pool):
    """Before a job is sent, the worker that the dispatcher chose and a few others at random are asked how many jobs
    they have; it goes to the one with the fewest. The dispatcher is not told.
    """

    def start(self, desk: Desk, start: Start) -> None:
        sent = self._sent[desk.number, start.job] = Sent(desk, start)
        sent.place = self._by_name[start.worker]
        self._travel(self._look, sent)

    def _look(self, sent: Sent) -> None:
        chosen = sent.place
        assert chosen is not None
        others = self._rng.integers(len(self._places), size=self._design.probes - 1).tolist()
        for place in map(self._places.__getitem__, others):
            if _jobs(place) < _jobs(chosen):
                chosen = place
        sent.place = chosen
        self._travel(self._go, sent)  # what they said, on its way back

    def _go(self, sent: Sent) -> None:
        assert sent.place is not None
        if sent.over:
            return
        self._send(sent, sent.place)


def _jobs(place: Place) -> int:
    """On their way they are not seen."""
    return len(place.waiting) + (place.running is not None)


class _Queue(Pool):
    """One queue beside the pool, singles before backups; a worker that has nothing to do takes the next job from it."""

    def _join(self) -> None:
        super()._join()
        self._free: dict[int, Place] = {place.number: place for place in self._places}
        self._lines: dict[bool, deque[Sent]] = {True: deque(), False: deque()}  # by: is it a single

    def start(self, desk: Desk, start: Start) -> None:
        sent = self._sent[desk.number, start.job] = Sent(desk, start)
        self._travel(self._line_up, sent)

    def _line_up(self, sent: Sent) -> None:
        if not sent.over:
            self._lines[sent.start.source is Source.SINGLE].append(sent)
            self._hand_out()

    def _hand_out(self) -> None:
        for line in (self._lines[True], self._lines[False]):
            while line and self._free:
                sent = line.popleft()
                if sent.over:
                    continue
                place = self._free.pop(next(iter(self._free)))  # free for longest
                self._send(sent, place)

    def _arrive(self, sent: Sent) -> None:
        place = sent.place
        assert place is not None
        if sent.over:  # cancelled on the way: the worker asks again
            self._travel(self._ask, sent)
            return
        super()._arrive(sent)

    def _next(self, place: Place) -> None:
        asks = Sent(self._desks.desks[0], _NOTHING, place)
        self._travel(self._ask, asks)

    def _ask(self, sent: Sent) -> None:
        place = sent.place
        assert place is not None
        self._free[place.number] = place
        self._hand_out()


_NOTHING = Start(0, "", Source.SINGLE, ())


class _Own(Pool):
    """Each gateway has its share of the workers, which are nobody else's."""

    def _join(self) -> None:
        count = len(self._desks.desks)
        for place in self._places:
            place.owner = self._desks.desks[place.number % count]
            self._tell(place.owner, place, WorkerState.UP)


class _Lend(_Own):
    """The same to begin with. Every `look` seconds each gateway says how many of its workers are idle and how many of
    its queries wait; one that has little to spare is given idle workers of those that have more.
    """

    def _join(self) -> None:
        super()._join()
        self._idle: list[dict[int, Place]] = [{} for _ in self._desks.desks]  # by gateway: those it has
        for place in self._places:
            assert place.owner is not None
            self._idle[place.owner.number][place.number] = place
        self._desks.at(self._design.look, self._look, None)

    def start(self, desk: Desk, start: Start) -> None:
        self._idle[desk.number].pop(self._by_name[start.worker].number, None)
        super().start(desk, start)

    def _deliver(self, sent: Sent) -> None:
        self._is_idle(sent)
        super()._deliver(sent)

    def _freed(self, sent: Sent) -> None:
        self._is_idle(sent)
        super()._freed(sent)

    def _is_idle(self, sent: Sent) -> None:
        assert sent.place is not None
        self._idle[sent.desk.number][sent.place.number] = sent.place

    def _look(self, _nothing: None) -> None:
        desks = self._desks.desks
        spare = [len(idle) - desk.dispatcher.waiting for idle, desk in zip(self._idle, desks, strict=True)]
        fair = sum(spare) // len(desks)
        for taker in sorted(range(len(desks)), key=spare.__getitem__):
            # One that has half of what is fair is left alone: workers that come and go forget what was learnt of them.
            if spare[taker] > fair // 2:
                break
            while spare[taker] < fair:
                giver = max(range(len(desks)), key=spare.__getitem__)
                if spare[giver] <= fair + 1 or not self._idle[giver]:
                    break
                self._move(giver, taker)
                spare[giver] -= 1
                spare[taker] += 1
        self._desks.at(self._desks.now + self._design.look, self._look, None)

    def _move(self, giver: int, taker: int) -> None:
        number, place = next(iter(self._idle[giver].items()))
        del self._idle[giver][number]
        self.moved += 1
        desk = self._desks.desks[giver]
        self._tell(desk, place, WorkerState.DRAINING)
        self._tell(desk, place, WorkerState.DOWN)
        self._desks.go_on()  # it is gone before the next one is chosen
        place.owner = self._desks.desks[taker]
        self._travel(self._comes, Sent(place.owner, _NOTHING, place), ways=2)

    def _comes(self, sent: Sent) -> None:
        assert sent.place is not None
        self._is_idle(sent)
        self._tell(sent.desk, sent.place, WorkerState.UP)


POOLS: dict[str, type[Pool]] = {"own": _Own, "lend": _Lend, "blind": Pool, "probe": _Probe, "queue": _Queue}
