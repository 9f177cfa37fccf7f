"""What a policy's quantiles mean now, in seconds: learnt from the times of singles and backups."""

from __future__ import annotations

from collage.dispatch._events import Role, Source
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job, Query
from collage.dispatch._sketch import LatencySketch
from collage.dispatch._watch import NEVER


class Learnt:
    """Delays and costs of one policy. Before `Policy.warmup` singles nothing is called late."""

    def __init__(self, policy: Policy) -> None:
        self.singles = LatencySketch(policy.memory)
        self._backups = LatencySketch(policy.memory)
        self._policy = policy
        self._own_model = policy.code is not None and policy.code.role is not Role.SINGLE

    def observe(self, job: Job, seconds: float) -> None:
        """A job has ended, with output. Replicas teach nothing: where losers are cancelled, only quick ones would."""
        if job.source is Source.SINGLE:
            self.singles.add(seconds)
        elif job.source is not Source.REPLICA:
            self._backups.add(seconds)

    def observe_cancelled(self, job: Job, seconds: float) -> None:
        """A job has stopped before its end. A single that was late by then is known to be late, and that is enough for
        the quantiles that lateness is measured by; of any other nothing is known.
        """
        if job.source is Source.SINGLE and seconds >= self.trigger:
            self.singles.add(seconds)

    @property
    def warm(self) -> bool:
        """Whether enough has been seen."""
        return self.singles.seen >= self._policy.warmup

    @property
    def patience(self) -> float:
        """How long a single is preferred, from its start. Until it is learnt, the shortest time of silence."""
        policy = self._policy
        if not self.warm:
            return policy.silence_least
        # Where more jobs straggle than the quantile leaves out, it is a straggler's own time.
        most = policy.patience_most * self.singles.quantile(0.5)
        return min(self.singles.quantile(policy.patience_quantile), most)

    @property
    def trigger(self) -> float:
        """The age at which a backup is wanted."""
        if self._policy.trigger == "at_once":
            return 0.0
        return self.singles.quantile(self._policy.late_quantile) if self.warm else NEVER

    @property
    def silence(self) -> float:
        """The age at which a job is taken for lost."""
        policy = self._policy
        if not self.warm:
            return 10 * policy.silence_least
        return max(policy.silence_least, policy.silence * self.singles.quantile(0.5))

    @property
    def backup_late(self) -> float:
        """The age at which a backup is late too."""
        if not self._policy.second_line or not self.warm:
            return NEVER
        known = self._backups if self._backups.seen >= self._policy.warmup else self.singles
        return known.quantile(self._policy.second_quantile)

    @property
    def backup_cost(self) -> float:
        """Seconds that a backup of the policy's code takes, on average."""
        return self._backups.mean if self._own_model and self._backups.seen else self.singles.mean

    def wanted_at(self, query: Query) -> float:
        """When a backup of the query, the first of its group, is wanted: once it is late, or its deadline near."""
        return query.started if query.hurried else query.started + self.trigger

    def last_moment(self, query: Query) -> float:
        """When a backup must start to be of use before the deadline; NEVER where the query is late before that."""
        if query.deadline is None or not self.warm:
            return NEVER
        when = query.deadline - 2 * self.backup_cost  # twice the mean, because half of them take longer
        return when if when < query.started + self.trigger else NEVER
