"""One simulated experiment, as its TOML file says it: what is simulated, which policies, what varies, what is drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.dispatch import PRESETS

Side = Annotated[int, Field(ge=2, le=5)]
FigureKind = Literal["lines", "bars", "cdf", "frontier", "map"]

# What a figure can show of a policy, and how an axis is labelled. Times are drawn in milliseconds.
METRICS = {
    "mean": "mean, ms",
    "std": "standard deviation, ms",
    "p50": "p50, ms",
    "p90": "p90, ms",
    "p95": "p95, ms",
    "p99": "p99, ms",
    "p999": "p99.9, ms",
    "busiest_p99": "p99 at the busiest gateway, ms",
    "round_mean": "mean of a round, ms",
    "round_std": "standard deviation of a round, ms",
    "round_p99": "p99 of a round, ms",
    "extra_work": "extra work",
    "degraded_share": "degraded answers",
    "accuracy_change": "A_o - A_a, points",
    "accuracy_to_ours": "A_o - our policy's, points",
    "tiles_per_backup": "queries in a backup",
    "utilisation": "workers' busy share",
    "energy_per_1000": "energy per 1,000 answers, J",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(_Part):
    """How much of an experiment is run."""

    queries: int = Field(ge=100, description="counted queries of one point and seed")
    seeds: int = Field(ge=1, le=100, description="how many times every point is run, each with arrivals of its own")


class PolicyEntry(_Part):
    """One policy of an experiment: a preset, with changed numbers, and perhaps a knob that is swept or tuned.

    A key of `sweep` or `tune` is a setting of the policy, `grid`, `k`, or `scenario.KEY`. All combinations are run. Of
    a sweep all are kept; of a tuning, in each cell, the one with the lowest p99 among those whose extra work is
    `within` the bound.
    """

    preset: str
    label: str = Field(default="", description="its name in tables and figures; absent: the preset's")
    settings: dict[str, Any] = Field(default_factory=dict, description="changes to the preset")
    grid: Side | tuple[Side, ...] = Field(
        default=3, description="tiles a side of a collage, or several to choose from; a batch holds as many images"
    )
    k: int = Field(default=2, ge=2, le=16, description="queries of a parity or a learned code")
    scenario: dict[str, Any] = Field(default_factory=dict, description="changes to the scenario, for this policy only")
    workers: str = Field(
        default="", pattern=r"^(\+[0-9]+|x[0-9]+)?$", description="more of them than the cell has: '+1', or 'x2'"
    )
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    tune: dict[str, list[Any]] = Field(default_factory=dict)
    within: float | str | None = Field(
        default=None, description="tune: the most extra work; or a label: no more than that policy's in the same cell"
    )
    ours: bool = Field(default=False, description="the policy that the report's sentences are about")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.preset not in PRESETS:
            raise ValueError(f"preset: {self.preset!r} is no preset; there are {', '.join(PRESETS)}")
        if self.sweep and self.tune:
            raise ValueError("sweep: a policy has knobs to sweep, or knobs to tune, not both")
        if self.within is not None and not self.tune:
            raise ValueError("within: is for `tune`, which is absent")
        if empty := [key for key, values in {**self.sweep, **self.tune}.items() if not values]:
            raise ValueError(f"{empty[0]}: a knob needs at least one value")
        return self

    @property
    def name(self) -> str:
        """Its name in tables and figures."""
        return self.label or self.preset


class Figure(_Part):
    """What is drawn of the rows."""

    kind: FigureKind
    x: str | None = Field(default=None, description="an axis, a knob, or a key of the scenario")
    y: list[str] = Field(default=["p99"], min_length=1, description="lines, bars: metrics; map: one axis")
    panels: str | None = Field(default=None, description="an axis: a panel for each of its values")
    log_x: bool = False
    log_y: bool = False
    x_label: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind in {"lines", "bars", "map"} and self.x is None:
            raise ValueError(f"x: a figure of kind {self.kind!r} needs one")
        unknown = [name for name in self.y if name not in METRICS]
        if self.kind in {"lines", "bars"} and unknown:
            raise ValueError(f"y: {unknown[0]!r} is no metric; there are {', '.join(METRICS)}")
        return self


class MapRule(_Part):
    """When a policy is called right: of those within both bounds, the one with the lowest p99.

    Of those that are as fast, but for `level`, it is the one with the least extra work.
    """

    most_extra_work: float = Field(default=0.25, ge=0, description="what an operator is taken to allow")
    accuracy_loss: float = Field(default=0.001, ge=0, le=1, description="how far A_o may measurably be below A_a")
    level: float = Field(default=0.05, ge=0, le=1, description="p99 that differ by less are called the same")


class Experiment(_Part):
    """One simulated experiment. `axes` are crossed: a cell is one value of each.

    An axis named after a key of the scenario, such as `load` or `times.scale`, or `grid` or `k`, lists its values. Any
    other axis is a table: each value's name, and what it changes of these.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    question: str = Field(default="", description="what the figure answers, for a reader who is new to all this")
    remark: str = Field(default="", description="what a reader must know beside it")
    order: int = Field(default=100, description="its place in the report")
    queries: int = Field(default=20_000, ge=100, description="counted queries of one point and seed")
    seeds: int = Field(default=5, ge=1, le=100)
    warmup: int = Field(default=1000, ge=0, description="queries before those that count; no more than these")
    quick: Size = Size(queries=3000, seeds=1)
    full: Size = Size(queries=100_000, seeds=5)
    scenario: dict[str, Any] = Field(default_factory=dict, description="what all cells share")
    axes: dict[str, list[Any] | dict[str, dict[str, Any]]] = Field(default_factory=dict)
    policies: list[PolicyEntry] = Field(min_length=1)
    figure: Figure
    map: MapRule = MapRule()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for axis, values in self.axes.items():
            if not values:
                raise ValueError(f"axes.{axis}: needs at least one value")
            if isinstance(values, list) and len(set(map(repr, values))) != len(values):
                raise ValueError(f"axes.{axis}: each value once")
        labels = [entry.name for entry in self.policies]
        for number, entry in enumerate(self.policies):
            if isinstance(entry.within, str) and entry.within not in labels:
                raise ValueError(f"policies.{number}.within: {entry.within!r} is no policy's label here")
            if isinstance(entry.within, str) and any(p.name == entry.within and p.tune for p in self.policies):
                raise ValueError(f"policies.{number}.within: {entry.within!r} is tuned itself")
        if len({entry.name for entry in self.policies if entry.ours}) > 1:
            raise ValueError("policies: at most one label is `ours`")
        self._figure_fits()
        return self

    def _figure_fits(self) -> None:
        figure, axes = self.figure, set(self.axes)
        if figure.panels is not None and figure.panels not in axes:
            raise ValueError(f"figure.panels: {figure.panels!r} is no axis")
        if figure.kind == "map":
            if figure.x not in axes:
                raise ValueError(f"figure.x: {figure.x!r} is no axis")
            if len(figure.y) != 1 or figure.y[0] not in axes:
                raise ValueError("figure.y: a map needs one axis here")

    @property
    def ours(self) -> str | None:
        """The label that sentences are about."""
        return next((entry.name for entry in self.policies if entry.ours), None)

    def size(self, name: Literal["usual", "quick", "full"]) -> Size:
        """What is run at this size."""
        sizes = {"quick": self.quick, "full": self.full, "usual": Size(queries=self.queries, seeds=self.seeds)}
        return sizes[name]
