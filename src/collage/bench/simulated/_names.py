"""What axes and knobs, and their values, are called in figures, tables and sentences."""

from __future__ import annotations

_NAMES = {
    "times.slow_share": "share of slow calls",
    "times.slow_factor": "slow calls' length",
    "overhead_share": "fixed overhead of a call",
    "costs.collage.ratio": "a collage's cost",
    "trigger_quantile": "closing quantile",
    "patience_quantile": "patience quantile",
    "gateways.count": "gateways",
    "gateways.busiest": "queries of the busiest gateway, over the mean",
}
_SHARES = {"times.slow_share", "overhead_share", "budget"}


def axis_name(key: str) -> str:
    """An axis or a knob in words."""
    key = key.removeprefix("scenario.")
    return _NAMES.get(key, key.rpartition(".")[2].replace("_", " "))


def value_name(key: str, value: object) -> str:
    """One of its values in words: shares in per cent, names as they are, nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value * 100:g}%" if key.removeprefix("scenario.") in _SHARES else f"{value:g}"
