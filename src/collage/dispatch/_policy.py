"""Policies: when backups are made, when their answers are accepted, and how much extra work is allowed.

A policy is a value composed of independent parts; nobody subclasses it. The named ones are in `PRESETS`, one readable
table; a preset's numbers are changed with `get_policy("hedge", budget=0.05)`.

Ages are counted from the moment a query's first single *started*: the queue is common to all workers, so time spent in
it says nothing of the worker that straggles. Quantiles are of the singles' service times, learnt while serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collage.dispatch._events import Role, Source, WorkerId
from collage.exceptions import SettingsError
from collage.files import first_problem

_CONFIDENT = 0.9  # where neither the policy nor the backup's card says anything


class Policy(BaseModel):
    """One way of hiding stragglers. Immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Code: what a backup is.
    code: Source | None = Field(default=None, description="what stands in for a late single; none: nothing does")
    among: tuple[Source, ...] = Field(
        default=(), description="other codes that may be chosen instead, by what they are measured to cost and to gain"
    )
    alone: Source | None = Field(
        default=None, description="what a late query without company gets instead of a job that could hold several"
    )
    dedicated: int = Field(default=0, ge=0, le=64, description="workers that only run backups; 0: a pool")

    # Trigger: when a backup is wanted.
    trigger: Literal["at_once", "late", "in_time"] = Field(
        default="late",
        description="a backup is wanted at once; when a query's age passes `trigger_quantile`; or so early that its "
        "answer is there when patience ends, and no earlier than the budget lasts for",
    )
    trigger_quantile: float | None = Field(
        default=None, ge=0, lt=1, description="late: of singles' times; absent: 1 - budget, as that implies"
    )
    close_when_full: bool = Field(default=True, description="a full group does not wait until its oldest query is late")
    beside: bool = Field(default=False, description="backups queue beside singles instead of behind them")
    overtake: bool = Field(
        default=True,
        description="but not once their oldest query's patience has ended, if the next single has waited less",
    )

    # Repeats.
    share_repeats: bool = Field(
        default=False, description="a query whose image is that of one in flight shares its jobs, where both may"
    )

    # Placement: which of the free workers gets a job.
    placement: Literal["idle", "speed"] = Field(
        default="idle",
        description="the one that has been idle for longest; speed: and one that is predicted to be slow only where "
        "waiting for another would take longer",
    )

    # Accept: when its answer is taken.
    accept: Literal["first", "patience", "confident"] = Field(
        default="patience",
        description="the first answer; the backup's only after `patience_quantile`; or earlier, if it is confident",
    )
    patience_quantile: float = Field(default=0.95, ge=0, lt=1, description="how long a single is preferred")
    patience_most: float = Field(
        default=2.0, ge=1, le=100, description="but no longer than so many median times, however many jobs straggle"
    )
    unsure_quantile: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="how long it is preferred to a backup's unsure answer, if that is longer; absent: as to any other",
    )
    unsure_below: float = Field(default=0.6, ge=0, le=1, description="the confidence below which an answer is unsure")
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="confident: accepted early from this confidence up; absent: the one in the backup's card",
    )

    # Second line: when the backup is late too, or had nothing to say.
    second_line: bool = Field(default=False, description="resend late singles, within the budget")
    second_quantile: float = Field(default=0.98, ge=0, lt=1, description="of backups' times: then a backup is late too")

    # Budget.
    budget: float = Field(default=0.1, ge=0, le=4, description="extra work allowed, worker-seconds over the singles'")
    idle_share: float | None = Field(
        default=None, gt=0, le=1, description="of the time that workers stand idle, the most to spend; absent: no limit"
    )
    burst: float = Field(default=25.0, ge=1, le=10_000, description="what may be saved up, in mean single times")

    # What is learnt.
    warmup: int = Field(default=50, ge=1, le=100_000, description="singles to see before quantiles are trusted")
    memory: int = Field(default=2000, ge=100, le=1_000_000, description="singles that quantiles look back on")

    # Health.
    attempts: int = Field(default=3, ge=1, le=10, description="singles sent for one query, if they fail")
    silence: float = Field(
        default=30.0, ge=2, le=1000, description="a job that takes so many median times is taken for lost"
    )
    silence_least: float = Field(default=2.0, gt=0, le=3600, description="but no sooner than this, seconds")
    backoff: float = Field(default=0.1, gt=0, le=60, description="pause after a failed job, doubling, seconds")
    backoff_most: float = Field(default=10.0, gt=0, le=3600, description="longest such pause, seconds")
    grace: float = Field(default=10.0, ge=0, le=3600, description="wait for workers before queries fail, seconds")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.code is Source.SINGLE:
            raise ValueError("code: a single is no backup; a second run of the single is a replica")
        if self.among and (self.code is None or self.trigger != "in_time"):
            raise ValueError("among: a choice of codes needs a code, and the trigger in_time")
        for name, given in (("among", self.among), ("alone", (self.alone,) if self.alone else ())):
            if any(code is Source.SINGLE or code.joint for code in given):
                raise ValueError(f"{name}: only codes whose answers can be read alone, and no single")
        if self.alone is not None and (self.code is None or not self.code.shared or self.alone.shared):
            raise ValueError("alone: only a replica or a cheap single, beside a code whose jobs hold several queries")
        if sum(code.shared for code in self.codes) > 1:
            raise ValueError("among: only one code whose jobs hold several queries")
        if self.trigger == "in_time" and self.code is not None and self.code.joint:
            raise ValueError("trigger: a joint backup waits for its whole group, so there is no right moment for it")
        if self.dedicated and (self.code is None or self.code.role is Role.SINGLE):
            raise ValueError("dedicated: only a backup with a model of its own can have workers of its own")
        if self.beside and (self.trigger != "at_once" or self.code is not Source.REPLICA):
            raise ValueError("beside: only for replicas that are wanted at once")
        return self

    @property
    def codes(self) -> tuple[Source, ...]:
        """All that backups may be made of, the policy's own first."""
        own = () if self.code is None else (self.code, *self.among)
        return tuple(dict.fromkeys(own if self.alone is None else (*own, self.alone)))

    @property
    def confident_from(self) -> float:
        """The confidence from which a backup's answer is accepted early."""
        return _CONFIDENT if self.confidence is None else self.confidence

    @property
    def late_quantile(self) -> float:
        """The quantile of singles' times after which a backup is wanted."""
        if self.trigger_quantile is not None:
            return self.trigger_quantile
        return min(0.999, max(0.0, 1.0 - self.budget))


PRESETS: dict[str, Policy] = {
    # No backups.
    "none": Policy(),
    # In a dedicated topology: the backup's worker is one more single worker. The same decisions as `none`; its own name
    # because it is the answer to "what if that machine had simply joined the others".
    "equal": Policy(),
    # Two singles at once, first come first served (Dean and Barroso, "The tail at scale", CACM 2013, without tying).
    "replicate": Policy(code=Source.REPLICA, trigger="at_once", beside=True, accept="first", budget=1.5, burst=1000),
    # A second single after the delay that the allowed extra work implies (as Finagle's BackupRequestFilter).
    "hedge": Policy(code=Source.REPLICA, accept="first", budget=0.1),
    # Late queries, alone, on a small single.
    "cheap": Policy(code=Source.CHEAP, accept="patience", budget=0.1),
    # Every k queries in flight with a parity beside them, as they come (Kosaian et al., arXiv 1905.00863): 1/k extra
    # work. The budget is that of pairs.
    "parity": Policy(code=Source.PARITY, trigger="at_once", second_line=True, budget=0.6),
    # The same with a learned code around the single itself (the same authors, arXiv 1806.01259).
    "learned": Policy(code=Source.LEARNED, trigger="at_once", second_line=True, budget=0.6),
    # Late queries and all that are in flight beside them, in one collage, on any worker that is idle.
    "collage": Policy(code=Source.COLLAGE, trigger_quantile=0.75, second_line=True, budget=0.2),
    # The paper's topology: one worker does nothing but collages (Narra et al., arXiv 1904.12222).
    "collage-dedicated": Policy(code=Source.COLLAGE, dedicated=1, trigger_quantile=0.3, second_line=True, budget=0.4),
    # Whatever is measured to be right: see `_plan.py`.
    "auto": Policy(
        code=Source.COLLAGE,
        among=(Source.CHEAP, Source.REPLICA),
        trigger="in_time",
        placement="speed",
        unsure_quantile=0.97,
        second_line=True,
        budget=0.2,
        idle_share=0.75,
        burst=10,
    ),
    # As `collage`, but a batch of a small single: for servers that take several images in a call.
    "batch": Policy(code=Source.BATCH, trigger_quantile=0.75, second_line=True, budget=0.2),
}


def get_policy(name: str, **changes: Any) -> Policy:
    """A preset, with some of its numbers changed. Raises SettingsError that names the preset or the key."""
    if name not in PRESETS:
        raise SettingsError(f"policy: {name!r} is no preset; there are {', '.join(PRESETS)}")
    try:
        return Policy.model_validate(PRESETS[name].model_dump() | changes)
    except ValidationError as error:
        raise SettingsError(f"policy {name}: {first_problem(error)}") from None


def worker_roles(policy: Policy, workers: Sequence[WorkerId]) -> dict[WorkerId, frozenset[Role]]:
    """Which models each worker runs: all of them in a pool; in a dedicated topology the last ones only the backup.

    Raises SettingsError where no worker would be left for singles.
    """
    backups = frozenset(code.role for code in policy.codes)
    singles = frozenset({Role.SINGLE})
    if not policy.dedicated:
        return dict.fromkeys(workers, singles | backups)
    if policy.dedicated >= len(workers):
        raise SettingsError(f"policy: {policy.dedicated} dedicated workers of {len(workers)} leave none for singles")
    first = len(workers) - policy.dedicated
    return {worker: singles if index < first else backups for index, worker in enumerate(workers)}
