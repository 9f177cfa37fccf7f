"""What a policy's quantiles mean now, in seconds: learnt from the times of singles and backups."""

from __future__ import annotations

from collage.dispatch._events import Role, Source
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job, Query
from collage.dispatch._sketch import LatencySketch
from collage.dispatch._watch import NEVER


class Learnt:
    """Delays and costs of one policy. Before `Policy.warmup` singles nothing is called late.

    Read at every event, so they are worked out only when quantiles may have changed:
    warm: whether enough has been seen. patience: how long a single is preferred, from its start. silence: the age at
    which a job is taken for lost. backup_late: the age at which a backup is late too. trigger: the age at which a
    backup is wanted.
    """

    def __init__(self, policy: Policy) -> None:
        self.singles = LatencySketch(policy.memory)
        self._backups = LatencySketch(policy.memory)
        self._policy = policy
        self._own_model = policy.code is not None and policy.code.role is not Role.SINGLE
        self.warm = False
        self.patience = policy.silence_least
        self.silence = 10 * policy.silence_least
        self.backup_late = NEVER
        self.trigger = 0.0 if policy.trigger == "at_once" else NEVER

    def observe(self, job: Job, seconds: float) -> None:
        """A job has ended, with output. Replicas teach nothing: where losers are cancelled, only quick ones would."""
        if job.source is Source.SINGLE:
            changed = self.singles.add(seconds)
            if changed or not self.warm:
                self._renew()
        elif job.source is not Source.REPLICA:
            changed = self._backups.add(seconds)
            if changed or self._backups.seen == self._policy.warmup:
                self._renew_backups()

    def observe_cancelled(self, job: Job, seconds: float) -> None:
        """A job has stopped before its end. A single that was late by then is known to be late, and that is enough for
        the quantiles that lateness is measured by; of any other nothing is known.
        """
        if job.source is Source.SINGLE and seconds >= self.trigger:
            self.observe(job, seconds)

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

    def _renew(self) -> None:
        policy, singles = self._policy, self.singles
        self.warm = singles.seen >= policy.warmup
        if not self.warm:
            return
        usual = singles.quantile(0.5)
        # Where more jobs straggle than the quantile leaves out, it is a straggler's own time.
        self.patience = min(singles.quantile(policy.patience_quantile), policy.patience_most * usual)
        self.silence = max(policy.silence_least, policy.silence * usual)
        if policy.trigger != "at_once":
            self.trigger = singles.quantile(policy.late_quantile)
        self._renew_backups()

    def _renew_backups(self) -> None:
        policy = self._policy
        if policy.second_line and self.warm:
            known = self._backups if self._backups.seen >= policy.warmup else self.singles
            self.backup_late = known.quantile(policy.second_quantile)
