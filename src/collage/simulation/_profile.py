"""A service-time profile: the facts of a measured trace that are enough to draw times like it.

A trace has a normal mode and, where workers straggle, a slow one. Each mode is a table of quantiles, read by linear
interpolation, so that no shape is assumed; the share and the runs of slow jobs say how often stragglers come and how
long they stay.
"""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collage.exceptions import SettingsError
from collage.files import first_problem

Times = NDArray[np.float64]

# Even steps for the body, closer ones where the mean and the high percentiles are decided.
PROBABILITIES = tuple(sorted({*(i / 100 for i in range(101)), 0.001, 0.002, 0.005, 0.995, 0.998, 0.999}))

# A job that takes this many times the median is slow, unless the caller draws the line.
SLOW_FACTOR = 3.0
_FEWEST = 100


class Mode(BaseModel):
    """One mode of service times: its quantiles at `PROBABILITIES`, seconds, rising."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantiles: tuple[float, ...]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        values = np.asarray(self.quantiles)
        if len(values) != len(PROBABILITIES):
            raise ValueError(f"quantiles needs {len(PROBABILITIES)} values, and has {len(values)}")
        if not np.isfinite(values).all() or values[0] <= 0 or (np.diff(values) < 0).any():
            raise ValueError("quantiles must be finite, above 0 and never fall")
        return self

    @classmethod
    def fit(cls, times: Times) -> Self:
        """The mode of these times (n,), seconds."""
        return cls(quantiles=tuple(round(float(q), 6) for q in np.quantile(times, PROBABILITIES)))

    @cached_property
    def mean(self) -> float:
        """Mean of what `at` gives for even probabilities, seconds."""
        return float(np.trapezoid(self.quantiles, PROBABILITIES))

    def at(self, probabilities: Times) -> Times:
        """The times (n,) at these probabilities (n,), seconds."""
        return np.interp(probabilities, PROBABILITIES, self.quantiles)


class Profile(BaseModel):
    """Facts of a trace of service times. All times are seconds; runs are jobs in a row on one worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str = Field(default="", description="where the times come from")
    jobs: int = Field(ge=_FEWEST, description="times in the trace")
    slow_above: float = Field(gt=0, description="a job longer than this is slow, seconds")
    slow_share: float = Field(ge=0, lt=1, description="share of jobs that are slow")
    normal_run: float = Field(gt=0, description="mean run of normal jobs")
    slow_run: float = Field(ge=0, description="mean run of slow jobs")
    longest_slow_run: int = Field(ge=0)
    normal: Mode
    slow: Mode | None = None

    @model_validator(mode="after")
    def _has_its_modes(self) -> Self:
        if (self.slow is None) != (self.slow_share == 0):
            raise ValueError("slow and slow_share belong together: a share above 0 needs the mode's quantiles")
        return self

    @classmethod
    def fit(cls, times: Times, name: str, *, source: str = "", slow_above: float | None = None) -> Self:
        """The profile of times (n,), seconds, in the order they were measured.

        `slow_above` defaults to `SLOW_FACTOR` times the median. Raises SettingsError where there are too few times, or
        where one is not above 0, or where none is normal.
        """
        if times.ndim != 1 or len(times) < _FEWEST:
            raise SettingsError(f"times: needs one column of at least {_FEWEST} times, and is {times.shape}")
        if not np.isfinite(times).all() or times.min() <= 0:
            raise SettingsError(f"times: must be finite and above 0 seconds (lowest: {np.nanmin(times):g})")
        limit = SLOW_FACTOR * float(np.median(times)) if slow_above is None else slow_above
        slow = times > limit
        if slow.all():
            raise SettingsError(f"slow_above: every time is above {limit:g} s, so none would be normal")
        slow_runs, normal_runs = _runs(slow), _runs(~slow)
        return cls(
            name=name,
            source=source,
            jobs=len(times),
            slow_above=round(limit, 6),
            slow_share=float(slow.mean()),
            normal_run=float(normal_runs.mean()),
            slow_run=float(slow_runs.mean()) if len(slow_runs) else 0.0,
            longest_slow_run=int(slow_runs.max(initial=0)),
            normal=Mode.fit(times[~slow]),
            slow=Mode.fit(times[slow]) if slow.any() else None,
        )

    @property
    def mean(self) -> float:
        """Mean service time, seconds."""
        slow = self.slow_share * self.slow.mean if self.slow else 0.0
        return (1 - self.slow_share) * self.normal.mean + slow

    def straggling(self, share: float | None = None, factor: float = 1.0) -> Self:
        """The same with another share of slow jobs (0..1), whose times are `factor` times as long.

        Raises SettingsError where there is no slow mode, or where a slow job would not be slow any more.
        """
        if share is None and factor == 1.0:
            return self
        if self.slow is None:
            raise SettingsError(f"profile {self.name}: has no slow mode whose share or times could be changed")
        slow = Mode(quantiles=tuple(quantile * factor for quantile in self.slow.quantiles))
        if slow.quantiles[0] <= self.slow_above:
            raise SettingsError(f"slow_factor: at {factor:g} some slow jobs would take no longer than normal ones")
        if share == 0:
            return self.without_slow()
        return self.model_copy(update={"slow_share": self.slow_share if share is None else share, "slow": slow})

    def without_slow(self) -> Self:
        """The same without its slow mode: what workers take that never straggle."""
        return self.model_copy(update={"slow_share": 0.0, "slow_run": 0.0, "longest_slow_run": 0, "slow": None})

    def draw(self, rng: np.random.Generator, count: int) -> Times:
        """Independent service times (count,), seconds: each slow with `slow_share`."""
        position = rng.random(count)
        times = self.normal.at(position)
        if self.slow:
            slow = rng.random(count) < self.slow_share
            times[slow] = self.slow.at(position[slow])
        return times


def _runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of True."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


def load_times(path: Path) -> Times:
    """A trace (n,), seconds, in file order: a .npy array, or text with one time a line (a header line is skipped).

    Raises SettingsError where the file cannot be read as such.
    """
    try:
        if path.suffix == ".npy":
            return _load_array(path)
        lines = path.read_text("utf-8").split("\n")
        cells = [line.split(",")[-1].strip() for line in lines]
        first = 0 if _is_number(cells[0]) else 1
        return np.asarray([float(cell) for cell in cells[first:] if cell])
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: not a list of service times, one a line in its last column ({error})") from None


def _load_array(path: Path) -> Times:
    """Raises OSError and ValueError."""
    try:
        with path.open("rb") as file:  # which numpy leaves open where it raises
            array = np.load(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # on crafted bytes it raises nearly anything, and all of it means the same
        raise ValueError(" ".join(str(error).split())[:100]) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":  # several arrays, or not of numbers
        raise ValueError("one array of numbers is needed")
    return array.astype(np.float64).reshape(-1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def list_profiles() -> list[str]:
    """Names of the shipped profiles."""
    folder = resources.files("collage.simulation") / "profiles"
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))


def load_profile(name_or_path: str) -> Profile:
    """A shipped profile by name, or a profile file. Raises SettingsError where there is neither, or it is damaged."""
    if name_or_path in list_profiles():
        text = (resources.files("collage.simulation") / "profiles" / f"{name_or_path}.json").read_text("utf-8")
    else:
        try:
            text = Path(name_or_path).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name_or_path}: no service-time profile ({error})") from None
        except OSError:
            known = ", ".join(list_profiles())
            raise SettingsError(f"no profile {name_or_path!r}: give a profile's file, or one of {known}") from None
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        raise SettingsError(f"{name_or_path}: no service-time profile ({first_problem(error)})") from None
