"""The flags of `collage simulate` as an experiment."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collage.bench.simulated import Experiment


class Stragglers(StrEnum):
    """How slowness comes."""

    IID = "iid"
    EPISODES = "episodes"


class Cancel(StrEnum):
    """What cancelling a running job does."""

    NOTHING = "nothing"
    COOPERATIVE = "cooperative"
    KILL = "kill"


def from_flags(
    *,
    policies: str,
    loads: str,
    workers: int,
    requests: int,
    grid: int,
    k: int,
    profile: str,
    stragglers: Stragglers,
    slow: str,
    cancel: Cancel,
    collage_cost: float,
    cheap_cost: str,
    parity_cost: float,
    changes: list[str],
) -> Experiment:
    """One table: a row a load and policy. Raises SettingsError that names the flag."""
    from collage.bench.simulated import Experiment, Figure, PolicyEntry
    from collage.dispatch import get_policy

    names = policies.split(",")
    changed = _changes(names, changes)
    for name in names:
        get_policy(name, **changed[name])  # its message names the preset or the key
    times: dict[str, Any] = {"kind": "profile", "profile": profile}
    if stragglers is Stragglers.EPISODES:
        normal_seconds, slow_seconds = _numbers("slow", slow, count=2)
        times = {
            "kind": "episodes", "profile": profile, "normal_seconds": normal_seconds, "slow_seconds": slow_seconds
        }  # fmt: skip
    ratio, overhead = _numbers("cheap-cost", cheap_cost, count=2)
    costs = {role: {"ratio": collage_cost} for role in ("collage", "batch")}
    costs |= {role: {"ratio": parity_cost} for role in ("parity", "learned")}
    costs["cheap"] = {"ratio": ratio, "overhead": overhead}
    return Experiment(
        name="simulated",
        title=f"{workers} workers, {stragglers.value}, {requests:,} simulated requests a row",
        queries=requests,
        seeds=1,
        scenario={"workers": workers, "times": times, "costs": costs, "cancel": {"effect": cancel.value}},
        axes={"load": list(_numbers("loads", loads))},
        policies=[PolicyEntry(preset=name, settings=changed[name], grid=grid, k=k) for name in names],
        figure=Figure(kind="lines", x="load"),
    )


def _changes(names: list[str], changes: list[str]) -> dict[str, dict[str, Any]]:
    """What --set changes, by preset. Raises SettingsError that names the change."""
    from collage.exceptions import SettingsError

    changed: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in changes:
        name, dot, rest = change.partition(".")
        key, equals, value = rest.partition("=")
        if not dot or not equals or name not in changed:
            raise SettingsError(f"--set: {change!r} is not POLICY.KEY=VALUE with one of {', '.join(names)}")
        changed[name][key] = value  # the policy's own fields say what it must be
    return changed


def _numbers(option: str, text: str, count: int | None = None) -> list[float]:
    """Raises SettingsError that names the option."""
    from collage.exceptions import SettingsError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or (option == "loads" and not 0 < min(numbers) <= max(numbers) <= 2):
        raise SettingsError(f"--{option}: {text!r} is no list of numbers in range, such as 0.3,0.7")
    if count is not None and len(numbers) != count:
        raise SettingsError(f"--{option}: {text!r} needs {count} numbers")
    return numbers
