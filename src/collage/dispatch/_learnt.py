"""What a policy's quantiles mean now, in seconds: learnt from the times of singles and backups."""

from __future__ import annotations

from collage.dispatch._events import Role, Source
from collage.dispatch._policy import Policy
from collage.dispatch._records import Job
from collage.dispatch._sketch import LatencySketch
from collage.dispatch._watch import NEVER

Kind = tuple[Source, int]  # of backup: a code, and the queries that such a job can hold

_TAKES = 0.6  # quantile of a backup's times that says how long one takes


class Learnt:
    """Delays and costs of one policy. Before `Policy.warmup` singles nothing is called late.

    Read at every event, so they are worked out only when quantiles may have changed:
    warm: whether enough has been seen. patience: how long a single is preferred, from its start; patience_unsure: to a
    backup's unsure answer. silence: the age at which a job is taken for lost. trigger: the age at which
    a backup is wanted, where that is a fixed quantile.
    """

    def __init__(self, policy: Policy) -> None:
        self.singles = LatencySketch(policy.memory)
        self._backups: dict[Kind, LatencySketch] = {}
        self._policy = policy
        self.warm = False
        self.patience = self.patience_unsure = policy.silence_least
        self.silence = 10 * policy.silence_least
        self.trigger = 0.0 if policy.trigger == "at_once" else NEVER
        self._late: dict[Kind, float] = {}

    def observe(self, job: Job, seconds: float) -> bool:
        """A job has ended, with output. Replicas teach nothing: where losers are cancelled, only quick ones would.

        Returns whether the delays may have changed.
        """
        if job.source is Source.SINGLE:
            changed = self.singles.add(seconds)
            if changed or not self.warm:
                self._renew()
                return True
            return False
        if job.source is Source.REPLICA:
            return False
        kind = job.source, job.capacity
        sketch = self._backups.get(kind)
        if sketch is None:
            sketch = self._backups[kind] = LatencySketch(self._policy.memory)
        changed = sketch.add(seconds)
        if changed or sketch.seen == self._policy.warmup:
            self._late.pop(kind, None)
        return changed

    def observe_cancelled(self, job: Job, seconds: float, late: float) -> bool:
        """A job has stopped before its end. A single that was late by then is known to be late, and that is enough for
        the quantiles that lateness is measured by; of any other nothing is known. late: the age that is called so.
        """
        return job.source is Source.SINGLE and seconds >= late and self.observe(job, seconds)

    def backup_late(self, source: Source, capacity: int) -> float:
        """The age at which a backup of this kind is late too."""
        kind = source, capacity
        late = self._late.get(kind)
        if late is None:
            if not self.warm:
                return NEVER
            sketch = self._backups.get(kind)
            known = sketch if sketch is not None and sketch.seen >= self._policy.warmup else self.singles
            late = self._late[kind] = known.quantile(self._policy.second_quantile)
        return late

    def cost(self, source: Source, capacity: int) -> float:
        """Seconds that a backup of this kind takes, on average; a single's, where it is not known yet."""
        known = self._known(source, capacity)
        return known.mean if self._enough(known) else self._by_median(known, self.singles.mean)

    def takes(self, source: Source, capacity: int) -> float:
        """Seconds after which the answer of a backup of this kind is there, most of the time."""
        known = self._known(source, capacity)
        if self._enough(known):
            return known.quantile(_TAKES)
        return self._by_median(known, self.singles.quantile(_TAKES))

    def tries(self, source: Source) -> int:
        """Backups of this code that have ended, of any size."""
        return sum(sketch.seen for (known, _), sketch in self._backups.items() if known is source)

    def _known(self, source: Source, capacity: int) -> LatencySketch:
        """Times of this kind; else of the code's next larger size, else of any; else the singles'."""
        if source.role is Role.SINGLE:
            return self.singles
        found = self._backups.get((source, capacity))
        if found is not None:
            return found
        sizes = sorted(size for known, size in self._backups if known is source)
        if not sizes:
            return self.singles
        return self._backups[source, next((size for size in sizes if size > capacity), sizes[-1])]

    def _enough(self, known: LatencySketch) -> bool:
        return known is self.singles or known.seen >= self._policy.warmup

    def _by_median(self, known: LatencySketch, singles: float) -> float:
        """What is so many seconds of singles, of a kind with few times: one straggler would spoil more than a median,
        and backups straggle as singles do.
        """
        usual = self.singles.quantile(0.5)
        return singles * known.quantile(0.5) / usual if usual else known.mean

    def _renew(self) -> None:
        policy, singles = self._policy, self.singles
        self.warm = singles.seen >= policy.warmup
        if not self.warm:
            return
        usual = singles.quantile(0.5)
        # Where more jobs straggle than the quantile leaves out, it is a straggler's own time.
        most = policy.patience_most * usual
        self.patience = self.patience_unsure = min(singles.quantile(policy.patience_quantile), most)
        if policy.unsure_quantile is not None:
            self.patience_unsure = max(self.patience, min(singles.quantile(policy.unsure_quantile), most))
        self.silence = max(policy.silence_least, policy.silence * usual)
        if policy.trigger == "late":
            self.trigger = singles.quantile(policy.late_quantile)
        self._late.clear()
