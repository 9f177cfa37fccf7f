"""The books: which queries and jobs there are, who waits, who runs, and what has been said. No decisions in here."""

from __future__ import annotations

from collections import deque

from collage.dispatch._budget import Budget
from collage.dispatch._events import Action, Answer, Cancel, JobId, QueryId, Reject, Role, Settled, Source, Start, Why
from collage.dispatch._groups import Groups
from collage.dispatch._records import Follower, Job, Query
from collage.dispatch._repeats import Repeats
from collage.dispatch._stats import DispatchStats
from collage.dispatch._workers import Worker, WorkerPool


class Ledger:
    """Keeps queries and jobs consistent with each other, with workers' slots, groups, counters and the budget."""

    def __init__(self, budget: Budget, groups: Groups) -> None:
        self.budget = budget
        self.stats = DispatchStats()
        self.pool = WorkerPool()
        self.queries: dict[QueryId, Query] = {}  # not settled
        self.jobs: dict[JobId, Job] = {}  # that take a slot
        self.groups = groups  # started, and in no backup yet
        self.queue: deque[tuple[Query, Source]] = deque()  # singles, and replicas beside them
        self.waiting = 0  # queries in it whose single has not started
        self.open = 0  # queries without an outcome
        self.resends: deque[Query] = deque()  # singles that the second line sends again
        self.repeats = Repeats()
        self.touched: dict[JobId, Job] = {}  # joint jobs to look at: something has happened to a query of theirs
        self._last_job = 0
        self._out: list[Action] = []

    def take_actions(self) -> list[Action]:
        """All since the last call."""
        out, self._out = self._out, []
        return out

    def say(self, action: Action) -> None:
        """One more action."""
        self._out.append(action)

    # Queries.

    def enter(self, query: Query) -> None:
        """A new query. Raises ValueError for an id that is in use."""
        self._count(query.id)
        self.queries[query.id] = query
        self.waiting += 1
        if query.same is not None:
            self.repeats.lead(query)

    def follow(self, query: QueryId, deadline: float | None, leader: Query) -> Follower:
        """A new query that shares the leader's jobs. Raises ValueError for an id that is in use."""
        self._count(query)
        self.stats.shared += 1
        return self.repeats.follow(query, deadline, leader)

    def _count(self, query: QueryId) -> None:
        if query in self.queries or query in self.repeats.followers:
            raise ValueError(f"query {query} is there already")
        self.stats.submitted += 1
        self.open += 1

    def requeue(self, query: Query) -> None:
        """Its single is to be sent again, before all others."""
        query.waiting = True
        self.waiting += 1
        self.stats.covered += 1
        self.queue.appendleft((query, Source.SINGLE))

    def answer(self, query: Query, answer: Answer) -> None:
        """The query's outcome, and that of all that share it."""
        if query.same is None:
            self._give(answer)
            self._close(query)
            return
        alike = self.repeats.alike(query, degraded=answer.source.degraded)
        for each in alike:  # all of them before any is settled: its output is needed until then
            for client in self.repeats.clients(each):
                self._give(answer if client == query.id else answer._replace(query=client, of=query.id))
            self._part(each)
        for each in alike:
            self._close(each)

    def answer_alone(self, client: Query | Follower, answer: Answer) -> None:
        """The outcome of this one; those that share its jobs wait on."""
        self._give(answer if client.id == answer.query else answer._replace(query=client.id, of=answer.query))
        self._leave(client)

    def reject(self, query: Query, why: Why) -> None:
        """The query's outcome, and that of all that share its jobs."""
        for client in self.repeats.clients(query) if query.same is not None else (query.id,):
            self._refuse(client, why)
        self._part(query)
        query.control = False  # there is nothing to compare with
        self._close(query)

    def reject_alone(self, client: Query | Follower, why: Why) -> None:
        """The outcome of this one, whoever it shares its jobs with."""
        self._refuse(client.id, why)
        if isinstance(client, Query) and not client.followers:
            client.control = False
        self._leave(client)

    def _give(self, answer: Answer) -> None:
        self.stats.answered[answer.source] += 1
        self.stats.backups_won += answer.source is not Source.SINGLE
        self.open -= 1
        self._out.append(answer)

    def _refuse(self, client: QueryId, why: Why) -> None:
        self.stats.rejected[why] += 1
        self.open -= 1
        self._out.append(Reject(client, why))

    def _leave(self, client: Query | Follower) -> None:
        """It has its outcome; its jobs go on while anybody waits for them."""
        leader = self.repeats.leave(client)
        if isinstance(client, Follower):
            self._out.append(Settled(client.id, False))
        if leader.left and not leader.followers:
            self._close(leader)

    def _part(self, query: Query) -> None:
        """All who shared its jobs have their outcome."""
        for follower in self.repeats.dismiss(query):
            self._out.append(Settled(follower, False))

    def _close(self, query: Query) -> None:
        """Nothing more starts for it, and what runs for nobody else is cancelled."""
        query.done = True
        query.held = None
        if query.same is not None:
            self.repeats.forget(query)
        if query.waiting:
            query.waiting = False
            self.waiting -= 1
        self.groups.remove(query)
        if query.jobs:
            for number in sorted(query.jobs):
                if all(other.done and not other.control for other in self.jobs[number].queries):
                    self._out.append(Cancel(number))
        if query.joints:
            self.touch(query)
        self.settle(query)

    def settle(self, query: Query) -> None:
        """Say so, once, of a query that is done; a control's losers are waited for, and who needs its scores."""
        if not query.joints and not (query.control and query.jobs) and self.queries.pop(query.id, None) is not None:
            self._out.append(Settled(query.id, query.control))

    # Jobs.

    def start(
        self, worker: Worker, source: Source, queries: tuple[Query, ...], now: float, *, cost: float, capacity: int
    ) -> Job:
        """Start a job; all but singles are paid from the budget, `cost` seconds for a start."""
        number = self._last_job = self._last_job + 1
        extra = source is not Source.SINGLE
        job = Job(number, source, worker.id, queries, now, extra, cost if extra else 0.0, capacity)
        self.jobs[number] = job
        worker.jobs[number] = now
        self.pool.update(worker, now)
        self.stats.started[source] += 1
        if not extra:
            for query in queries:
                query.jobs.add(number)
                query.singles += 1
                query.attempts += 1
                query.waiting = False
            self.waiting -= len(queries)
            self._out.append(Start(number, worker.id, source, tuple([query.id for query in queries])))
            return job
        for query in queries:
            query.jobs.add(number)
            query.singles += source.role is Role.SINGLE
            if source.joint:
                query.joints |= {job}
        job.kept = source.joint
        self.budget.spend(cost)
        self.stats.backups_sent += 1
        self.stats.tiles_sent += len(queries)
        self._out.append(Start(number, worker.id, source, tuple([query.id for query in queries]), capacity))
        return job

    def end(self, job: JobId, now: float) -> tuple[Job, Worker] | None:
        """The engine says that the slot is free. None for a job not known: lost with its worker, or invented."""
        ended = self.jobs.pop(job, None)
        if ended is None:
            return None
        worker = self.pool[ended.worker]
        worker.jobs.pop(job)
        worker.silent.discard(job)
        self.pool.update(worker, now)
        return ended, worker

    def pay(self, job: Job, now: float) -> None:
        """Count the seconds of a job that has ended, in whatever way."""
        seconds = job.seconds(now)
        if job.extra:
            self.stats.extra_seconds += seconds
            self.budget.spend(seconds - job.cost)
        else:
            self.stats.singles_ended += len(job.queries)
            self.stats.single_seconds += seconds
            self.budget.earn(seconds)

    def detach(self, query: Query, job: Job) -> None:
        """The job runs no more for this query."""
        query.jobs.discard(job.id)
        if job.source.role is Role.SINGLE and job.silent_after is None:
            query.singles -= 1
        if query.joints:
            self.touch(query)

    def touch(self, query: Query) -> None:
        """Something has happened to it that others of its groups may have waited for."""
        for job in query.joints:
            self.touched[job.id] = job

    def silence(self, job: Job, now: float) -> None:
        """The job counts as lost, though its slot is taken until the engine says otherwise."""
        worker = self.pool[job.worker]
        worker.silent.add(job.id)
        self.pool.update(worker, now)
        for query in job.queries:
            query.singles -= job.source.role is Role.SINGLE
            self.touch(query)
        job.silent_after = now - job.started

    def is_over(self, job: Job) -> bool:
        """Whether the job has ended."""
        return job.id not in self.jobs
