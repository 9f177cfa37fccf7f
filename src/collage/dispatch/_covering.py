"""What goes wrong, and what covers it: jobs that fail, vanish, go silent or say nothing, and late backups."""

from __future__ import annotations

from collage.dispatch._events import Role, Why
from collage.dispatch._joint import Joints
from collage.dispatch._learnt import Kind, Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._plan import Plan
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job, Query
from collage.dispatch._watch import Timers, Watch
from collage.dispatch._workers import Worker


class Cover:
    """Looks at jobs and queries that have gone on for long, and makes good what a job does not give."""

    def __init__(self, policy: Policy, plan: Plan, ledger: Ledger, learnt: Learnt, timers: Timers) -> None:
        self.joints = Joints(ledger, self.without)
        self._backup_failures = 0  # in a row
        self._policy = policy
        self._plan = plan
        self._ledger = ledger
        self._learnt = learnt
        self._timers = timers
        self._running: Watch[Job] = Watch(ledger.is_over)
        self._backups: dict[Kind, Watch[Job]] = {}  # that a second line may follow
        self._patient: Watch[Query] = Watch(lambda query: query.done)  # started, where there is a second line

    def watch(self, job: Job, now: float) -> None:
        """A job that has just started."""
        self._running.add(now, job)
        if self._policy.second_line and job.source.degraded:
            kind = job.source, job.capacity
            watch = self._backups.get(kind)
            if watch is None:
                watch = self._backups[kind] = Watch(self._ledger.is_over)
            watch.add(now, job)

    def watch_query(self, query: Query, now: float) -> None:
        """A query whose first single has just started."""
        if self._policy.second_line:
            self._patient.add(now, query)

    def look(self, now: float) -> None:
        """Go through what is due."""
        learnt = self._learnt
        if self._running.may_be_due(learnt.silence, now):
            for job in self._running.due(learnt.silence, now):
                self._go_silent(job, now)
        for kind, watch in self._backups.items():
            late = learnt.backup_late(*kind)
            if watch.may_be_due(late, now):
                for job in watch.due(late, now):
                    for query in job.queries:
                        self._second_line(query, now)
        if self._patient.may_be_due(learnt.patience, now):
            for query in self._patient.due(learnt.patience, now):
                if not self._may_be_covered(query, now):
                    self._second_line(query, now)

    @property
    def next(self) -> float:
        """When the next thing is due; NEVER without one."""
        learnt = self._learnt
        when = self._running.next(learnt.silence)
        if self._policy.second_line:
            when = min(when, self._patient.next(learnt.patience))
            for kind, watch in self._backups.items():
                when = min(when, watch.next(learnt.backup_late(*kind)))
        return when

    # Ending without an answer.

    def failed(self, job: Job, worker: Worker, now: float) -> None:
        """It gave no usable output; its worker lives."""
        worker.failed += 1
        if job.source.role is Role.SINGLE:
            worker.failures += 1
            worker.paused_until = now + self._pause(worker.failures)
            self._ledger.pool.update(worker, now)
            self._timers.add(worker.paused_until, self._after_pause, worker)
        self.lose(job, now)

    def lose(self, job: Job, now: float) -> None:
        """It ended without output."""
        self._pause_backups(job, now)
        ledger = self._ledger
        ledger.stats.failed[job.source] += 1
        ledger.pay(job, now)
        self._forget(job)
        for query in job.queries:
            ledger.detach(query, job)
            if query.done:
                ledger.settle(query)
                continue
            if job.source.degraded and query.grouped < self._policy.attempts:
                ledger.groups.put_back(query)
            self.without(query, job, now)

    def stopped(self, job: Job, now: float) -> None:
        """It was cancelled, and has stopped without output."""
        if self._learnt.observe_cancelled(job, job.seconds(now), self._plan.late):
            self._plan.renew(now)
        self._ledger.pay(job, now)
        self._forget(job)
        for query in job.queries:
            self._ledger.detach(query, job)
            if query.done:
                self._ledger.settle(query)
            else:
                self.without(query, job, now)

    def without(self, query: Query, job: Job, now: float) -> None:
        """This job gives this query nothing: cover a single by another, answer with what is held, or give up."""
        if job.source.degraded:
            self._second_line(query, now)
        if query.singles or query.waiting:
            return
        if query.held is not None:
            self._ledger.answer(query, query.held)
        elif query.attempts < self._policy.attempts:
            self._ledger.requeue(query)
        elif not query.jobs and not query.joints:
            self._ledger.reject(query, Why.FAILED)

    def backup_ended_well(self) -> None:
        """Backups work: the next failure is a first one."""
        self._backup_failures = 0

    def _forget(self, job: Job) -> None:
        """It has ended without output, so nothing can be read of it."""
        if job.kept:
            job.kept = False
            self.joints.release(job)

    def _go_silent(self, job: Job, now: float) -> None:
        """Nothing was heard of it for far too long: what it was to answer is covered, and its worker left alone."""
        self._ledger.silence(job, now)
        self._pause_backups(job, now)
        for query in job.queries:
            if not query.done:
                self.without(query, job, now)

    # The second line.

    def _may_be_covered(self, query: Query, now: float) -> bool:
        """Whether a backup of the policy's code has, or may still get, the query."""
        if query.grouped > 0:
            return True
        source = self._plan.of(query, now).source
        # A joint one's group may never be full.
        return source is not None and not source.joint and self._ledger.pool.can(source.role)

    def _second_line(self, query: Query, now: float) -> None:
        """The backup is late too, or of no use: resend the single, once it is late."""
        if not self._policy.second_line or query.done or query.resent or query.waiting or query.held is not None:
            return
        if not self._learnt.warm:
            return  # nothing is called late yet
        due = query.started + self._learnt.patience
        if now < due:
            self._timers.add(due, self._second_line, query)
            return
        query.resent = True
        self._ledger.resends.append(query)

    # Pauses after failures.

    def _pause_backups(self, job: Job, now: float) -> None:
        """After a backup that failed, vanished or went silent: its model must not cost the singles their workers."""
        if job.source.role is Role.SINGLE:
            return
        self._backup_failures += 1
        until = self._plan.degraded_paused_until = now + self._pause(self._backup_failures)
        self._timers.add(until, self._after_pause, None)

    def _pause(self, failures: int) -> float:
        return min(self._policy.backoff_most, self._policy.backoff * 2.0 ** min(failures - 1, 60))

    def _after_pause(self, worker: Worker | None, now: float) -> None:
        if worker is not None:
            self._ledger.pool.update(worker, now)
