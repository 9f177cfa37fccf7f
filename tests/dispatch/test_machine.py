"""The dispatcher's rules under any order of events: hypothesis plays clients, workers and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collage.dispatch import (
    PRESETS,
    Action,
    Answer,
    Cancel,
    Decode,
    Dispatcher,
    Outcome,
    Policy,
    Reject,
    Role,
    Settled,
    Source,
    Start,
    WorkerState,
    get_policy,
)

EVERY_ROLE = frozenset(Role)
SINGLES_ONLY, BACKUPS_ONLY = frozenset({Role.SINGLE}), frozenset(Role) - {Role.SINGLE}
ROLES = st.sampled_from([EVERY_ROLE, SINGLES_ONLY, BACKUPS_ONLY, frozenset({Role.SINGLE, Role.COLLAGE})])
# Capacity by code; a collage also comes in sizes.
SHARED = {Source.COLLAGE: (4,), Source.BATCH: (3,), Source.PARITY: (2,), Source.LEARNED: (3,)}


def composed(name: str, alone: Source | None, in_time: bool, changes: dict[str, Any]) -> Policy:
    """A preset with parts exchanged, as far as they fit together."""
    code = PRESETS[name].code
    if code is not None and not code.joint and in_time and not PRESETS[name].beside:
        changes |= {"trigger": "in_time", "idle_share": 0.5}
    if code is not None and code.shared and not code.joint and alone is not None:
        changes |= {"alone": alone}
    return get_policy(name, **changes)


policies = st.builds(
    composed,
    st.sampled_from(sorted(PRESETS)),
    st.sampled_from([None, Source.REPLICA, Source.CHEAP]),
    st.booleans(),
    st.fixed_dictionaries(
        {
            "warmup": st.integers(1, 4),
            "attempts": st.integers(1, 3),
            "burst": st.sampled_from([1.0, 3.0, 100.0]),
            "silence": st.sampled_from([2.0, 5.0]),
            "silence_least": st.sampled_from([0.5, 100.0]),
            "grace": st.sampled_from([0.0, 5.0]),
        },
        optional={
            "accept": st.sampled_from(["first", "patience", "confident"]),
            "patience_quantile": st.sampled_from([0.0, 0.5, 0.9]),
            "unsure_quantile": st.sampled_from([0.5, 0.98]),
            "close_when_full": st.booleans(),
            "second_line": st.booleans(),
            "placement": st.sampled_from(["idle", "speed"]),
            "overtake": st.booleans(),
            "share_repeats": st.booleans(),
        },
    ),
)


class Machine(RuleBasedStateMachine):
    """Keeps its own books of what the dispatcher may do, from events and actions alone."""

    @initialize(
        policy=policies,
        several=st.booleans(),
        control_share=st.sampled_from([0.0, 0.5]),
        max_queue=st.sampled_from([3, 1000]),
        max_batch=st.sampled_from([1, 1, 2, 3]),
    )
    def begin(self, policy: Policy, several: bool, control_share: float, max_queue: int, max_batch: int) -> None:
        self.policy, self.max_batch = policy, max_batch
        self.sizes: tuple[int, ...] = SHARED.get(policy.code, (1,)) if policy.code else (1,)
        if several and policy.code is Source.COLLAGE:
            self.sizes = (2, 4)
        self.dispatcher = Dispatcher(
            policy, capacity=self.sizes, control_share=control_share, max_queue=max_queue, max_batch=max_batch
        )
        self.now = 0.0
        self.queries: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, Start] = {}  # that take a slot
        self.started: dict[int, Start] = {}  # ever
        self.began: dict[int, float] = {}
        self.cancelled: set[int] = set()
        self.outcomes: dict[int, Sequence[Outcome]] = {}  # of jobs that completed
        self.joint: dict[int, Start] = {}  # of them, those that cannot be read alone
        self.single_known: set[int] = set()  # queries that a single has answered, in time or not
        self.workers: dict[str, tuple[frozenset[Role], int, bool]] = {}  # roles, slots, whether it takes new jobs
        self.read: set[tuple[int, int]] = set()  # positions of joint jobs that were to be decoded
        self.single_seconds = self.extra_seconds = self.longest_single = 0.0

    # What may happen.

    @rule(
        key=st.sampled_from("ab"),
        within=st.sampled_from([None, 0.0, 0.5, 30.0]),
        degraded=st.booleans(),
        image=st.sampled_from([None, None, "cat", "dog"]),
    )
    def submit(self, key: str, within: float | None, degraded: bool, image: str | None) -> None:
        query = len(self.queries) + 1
        deadline = None if within is None else self.now + within
        self.queries[query] = {
            "key": key, "deadline": deadline, "degraded": degraded, "image": image, "outcome": None, "settled": 0
        }  # fmt: skip
        self.do(self.dispatcher.submit(query, key, deadline, degraded, self.now, digest=image))

    @rule(count=st.integers(2, 4), key=st.sampled_from("ab"))
    def several_come(self, count: int, key: str) -> None:
        for _ in range(count):
            self.submit(key, None, True, None)

    @rule(count=st.integers(2, 4), key=st.sampled_from("ab"), within=st.sampled_from([None, 0.5]))
    def one_image_comes_several_times(self, count: int, key: str, within: float | None) -> None:
        for number in range(count):
            self.submit(key, within if number % 2 else None, True, "cat")

    @rule(worker=st.sampled_from("wxyz"), roles=ROLES, slots=st.sampled_from([1, 2, 4]))
    def worker_up(self, worker: str, roles: frozenset[Role], slots: int) -> None:
        if worker not in self.workers:
            self.workers[worker] = (roles, slots, True)
            self.do(self.dispatcher.worker(worker, WorkerState.UP, roles, slots, self.now))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_down(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[worker]
        for job in [job for job, start in self.jobs.items() if start.worker == worker]:
            self.ended(job)
        self.do(self.dispatcher.worker(worker, WorkerState.DOWN, frozenset(), 0, self.now))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_draining(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        roles, slots, _ = self.workers[worker]
        self.workers[worker] = (roles, slots, False)
        self.do(self.dispatcher.worker(worker, WorkerState.DRAINING, roles, slots, self.now))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def job_completed(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        count = len(self.jobs[job].queries)
        answers = st.builds(Outcome, st.sampled_from([True, True, True, False]), st.sampled_from([0.4, 0.95]))
        self.complete(job, data.draw(st.lists(answers, min_size=count, max_size=count)))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def job_failed(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        self.ended(job)
        self.do(self.dispatcher.failed(job, "garbage", self.now))

    @precondition(lambda self: self.cancelled & set(self.jobs))
    @rule(data=st.data())
    def job_freed(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.cancelled & set(self.jobs))))
        self.ended(job)
        self.do(self.dispatcher.freed(job, self.now))

    @precondition(lambda self: self.queries)
    @rule(data=st.data())
    def client_goes(self, data: st.DataObject) -> None:
        self.do(self.dispatcher.cancelled(data.draw(st.sampled_from(sorted(self.queries))), self.now))

    @rule(data=st.data())
    def engine_invents_a_job(self, data: st.DataObject) -> None:
        job = 1_000_000
        event = data.draw(st.sampled_from(["completed", "failed", "freed", "decoded"]))
        if event == "completed":
            self.do(self.dispatcher.completed(job, [Outcome(True, 1.0)], self.now))
        elif event == "decoded":
            self.do(self.dispatcher.decoded(job, 0, Outcome(True, 1.0), self.now))
        elif event == "failed":
            self.do(self.dispatcher.failed(job, "?", self.now))
        else:
            self.do(self.dispatcher.freed(job, self.now))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.pass_to(self.now + seconds)

    # The books.

    def pass_to(self, until: float) -> None:
        """Wakes the dispatcher whenever it wants, as a driver does."""
        while (wake := self.dispatcher.next_tick) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.do(self.dispatcher.tick(self.now))
            again = self.dispatcher.next_tick
            assert again is None or again > self.now, "it would be woken for ever"
        self.now = until
        self.do(self.dispatcher.tick(until))

    def complete(self, job: int, outcomes: Sequence[Outcome]) -> None:
        self.outcomes[job] = outcomes
        start = self.jobs[job]
        if start.source.joint:
            self.joint[job] = start
        elif not start.source.degraded:
            self.single_known |= {q for q, outcome in zip(start.queries, outcomes, strict=True) if outcome.known}
        self.ended(job)
        self.do(self.dispatcher.completed(job, outcomes, self.now))

    def ended(self, job: int) -> None:
        start = self.jobs.pop(job)
        seconds = self.now - self.began[job]
        if start.source is Source.SINGLE:
            self.single_seconds += seconds
        else:
            self.extra_seconds += seconds
        if start.source.role is Role.SINGLE:
            self.longest_single = max(self.longest_single, seconds)

    def do(self, actions: Sequence[Action]) -> None:
        read: list[Decode] = []
        for action in actions:
            match action:
                case Start():
                    self.check_start(action)
                    self.jobs[action.job] = self.started[action.job] = action
                    self.began[action.job] = self.now
                case Cancel(job):
                    assert job in self.jobs
                    assert job not in self.cancelled
                    assert all(self.queries[query]["outcome"] for query in self.jobs[job].queries)
                    self.cancelled.add(job)
                case Decode(job, position):
                    self.check_decode(job, position)
                    read.append(action)
                case Answer(query, source, confidence, job, position, of):
                    self.outcome(query, action)
                    self.check_shared(query, query if of is None else of, job, position)
                    assert not source.joint or (job, position) in self.read
                    known, said = self.outcomes[job][position]
                    assert known, "an answer from a tile that had nothing to say"
                    assert said == confidence
                    assert not source.degraded or self.queries[query]["degraded"]
                case Reject(query, _):
                    self.outcome(query, action)
                case Settled(query, control):
                    assert self.queries[query]["outcome"] is not None
                    self.queries[query]["settled"] += 1
                    running = [job for job, start in self.jobs.items() if query in start.queries]
                    assert not (control and running), "a control whose losers still run"
                    assert control or all(
                        job in self.cancelled
                        or any(
                            self.queries[other]["outcome"] is None or not self.queries[other]["settled"]
                            for other in self.jobs[job].queries
                        )
                        for job in running
                    ), "a job that runs for nobody was not cancelled"
        for job, position in read:
            self.do(self.dispatcher.decoded(job, position, self.outcomes[job][position], self.now))

    def check_decode(self, job: int, position: int) -> None:
        queries = self.joint[job].queries
        others = [query for at, query in enumerate(queries) if at != position]
        assert all(query in self.single_known for query in others), "decoded without all others"
        assert not any(self.queries[query]["settled"] for query in queries), "their scores are forgotten"
        assert (job, position) not in self.read, "decoded twice"
        self.read.add((job, position))

    def check_shared(self, query: int, owner: int, job: int, position: int) -> None:
        """The output is of the owner, whom the driver still knows, and who shares all that matters with the query."""
        assert self.started[job].queries[position] == owner
        assert not self.queries[owner]["settled"], "its scores are forgotten"
        if query != owner:
            assert self.policy.share_repeats
            assert self.queries[query]["image"] is not None
            assert self.alike(query, owner)

    def alike(self, one: int, other: int) -> bool:
        return all(self.queries[one][name] == self.queries[other][name] for name in ("key", "degraded", "image"))

    def wanted(self, query: int) -> bool:
        """Whether somebody may still wait for a job of this query: itself, or one that may share its jobs."""
        return self.queries[query]["outcome"] is None or (
            self.policy.share_repeats
            and self.queries[query]["image"] is not None
            and not self.queries[query]["settled"]
            and any(own["outcome"] is None and self.alike(query, other) for other, own in self.queries.items())
        )

    def outcome(self, query: int, outcome: Action) -> None:
        assert self.queries[query]["outcome"] is None, "a second outcome"
        self.queries[query]["outcome"] = outcome

    def check_start(self, start: Start) -> None:
        assert start.job not in self.began
        roles, slots, takes = self.workers[start.worker]
        assert takes
        assert start.source.role in roles
        assert sum(other.worker == start.worker for other in self.jobs.values()) < slots, "the slot is not free"
        assert start.queries
        sizes = self.sizes if start.source.shared else (1,)
        if start.source is Source.SINGLE:
            assert start.capacity == 1
            assert len(set(start.queries)) == len(start.queries) <= self.max_batch
            again = [query for query in start.queries for job in self.started.values()
                     if job.source is Source.SINGLE and query in job.queries]  # fmt: skip
            assert not again or len(start.queries) == 1, "one that is sent again shares a call"
        else:
            assert start.capacity == next((size for size in sizes if size >= len(start.queries)), sizes[-1])
            assert len(set(start.queries)) == len(start.queries) <= start.capacity
        assert not start.source.joint or len(start.queries) == start.capacity, "a part of a group"
        assert not (start.source.shared and len(start.queries) == 1 and self.alone_for(start)), "it has a code for that"
        queries = [self.queries[query] for query in start.queries]
        assert all(self.wanted(query) for query in start.queries), "started for nothing"
        assert len({query["key"] for query in queries}) == 1, "queries of different keys in one job"
        if start.source.degraded:
            assert all(query["degraded"] for query in queries)
        if start.source is not Source.SINGLE:
            assert start.source in (*self.policy.codes, Source.REPLICA)
            most = self.policy.burst * self.longest_single + self.policy.budget * self.single_seconds
            assert self.extra_seconds <= most + 1e-6, "beyond the budget"

    def alone_for(self, start: Start) -> bool:
        """Whether the policy names another code for one query alone, and a worker may run it."""
        alone = self.policy.alone
        return alone is not None and any(alone.role in roles for roles, _, takes in self.workers.values() if takes)

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "dispatcher"):
            return
        without = sum(query["outcome"] is None for query in self.queries.values())
        view = self.dispatcher.view(self.now)
        assert view.in_flight == without
        assert view.waiting <= without
        assert sum(worker.jobs for worker in view.workers) == len(self.jobs)
        stats = self.dispatcher.stats
        assert stats.submitted == len(self.queries)
        assert sum(stats.answered.values()) + sum(stats.rejected.values()) == len(self.queries) - without

    def teardown(self) -> None:
        """With one honest worker and time enough everything ends, and nothing is left over."""
        if not hasattr(self, "dispatcher"):
            return
        if "honest" not in self.workers:
            self.workers["honest"] = (EVERY_ROLE, 1, True)
            self.do(self.dispatcher.worker("honest", WorkerState.UP, EVERY_ROLE, 1, self.now))
        for _ in range(50 * (len(self.queries) + 5)):
            if not self.jobs and all(query["settled"] for query in self.queries.values()):
                break
            self.pass_to(self.now + 0.1)
            for job in sorted(self.jobs):
                if job in self.jobs:
                    self.complete(job, [Outcome(True, 0.99)] * len(self.jobs[job].queries))
        assert not self.jobs
        assert all(query["settled"] == 1 for query in self.queries.values())
        ledger = self.dispatcher._ledger
        assert not ledger.queries
        assert not self.dispatcher._joints._asked
        assert not ledger.jobs
        assert not len(ledger.groups)
        assert not ledger.repeats.followers
        assert not ledger.repeats._leaders
        assert ledger.open == ledger.waiting == 0


Machine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMachine = Machine.TestCase
