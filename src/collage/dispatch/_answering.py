"""Which output becomes an answer, and when: at once, or held while the single is preferred."""

from __future__ import annotations

from collage.dispatch._covering import Cover
from collage.dispatch._events import Answer, Outcome, Why
from collage.dispatch._learnt import Learnt
from collage.dispatch._ledger import Ledger
from collage.dispatch._policy import Policy
from collage.dispatch._records import Follower, Job, Query
from collage.dispatch._watch import Timers


class Answers:
    """Receives what jobs say of queries."""

    def __init__(self, policy: Policy, ledger: Ledger, learnt: Learnt, timers: Timers, cover: Cover) -> None:
        self._policy = policy
        self._ledger = ledger
        self._learnt = learnt
        self._timers = timers
        self._cover = cover

    def receive(self, query: Query, job: Job, position: int, outcome: Outcome, now: float) -> None:
        """What this job gave this query: too late, an answer to accept or hold, or nothing known."""
        ledger = self._ledger
        if query.done:
            ledger.stats.late_answers += 1
            ledger.settle(query)
        elif not outcome.known:
            ledger.stats.unknown += 1
            self._cover.without(query, job, now)
        else:
            answer = Answer(query.id, job.source, outcome.confidence, job.id, position)
            if not job.source.degraded or self._accepts(query, answer, now):
                ledger.answer(query, answer)
            elif query.held is None:
                query.held = answer
                self._timers.add(query.started + self._patience(answer), self._after_patience, query)

    def at_deadline(self, client: Query | Follower, now: float) -> None:
        """This client waits no longer; others that share its jobs do."""
        held = client.held if isinstance(client, Query) else client.leader.held
        if isinstance(client, Query) and client.left:
            return
        if held is not None:
            self._ledger.answer_alone(client, held)
        else:
            self._ledger.reject_alone(client, Why.DEADLINE)

    def _accepts(self, query: Query, answer: Answer, now: float) -> bool:
        """Of a degraded one."""
        policy = self._policy
        if policy.accept == "first" or not (query.singles or query.waiting):
            return True
        if policy.accept == "confident" and answer.confidence >= policy.confident_from:
            return True
        return now >= query.started + self._patience(answer)

    def _patience(self, answer: Answer) -> float:
        """How long a single is preferred to this answer. Most wrong answers are unsure ones, and few answers are."""
        unsure = answer.confidence < self._policy.unsure_below
        return self._learnt.patience_unsure if unsure else self._learnt.patience

    def _after_patience(self, query: Query, now: float) -> None:
        if query.held is not None and self._accepts(query, query.held, now):
            self._ledger.answer(query, query.held)
        elif query.held is not None:  # patience has grown meanwhile
            self._timers.add(query.started + self._patience(query.held), self._after_patience, query)
