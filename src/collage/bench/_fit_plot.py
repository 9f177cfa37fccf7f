"""A picture of a profile beside the trace it was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from collage.simulation import Profile, Times

_DRAWS = 200_000


def plot_fit(profile: Profile, times: Times, path: Path, *, seed: int = 0) -> None:
    """Write a picture: share of jobs longer than t, of the trace and of independent draws from its profile."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    drawn = profile.draw(np.random.default_rng(seed), _DRAWS)
    for label, values, style in (("trace", times, "-"), (f"profile {profile.name}", drawn, "--")):
        ordered = np.sort(values)
        share = 1.0 - np.arange(len(ordered)) / len(ordered)
        axes.step(ordered, share, style, where="post", label=label)
    axes.axvline(profile.slow_above, color="grey", linewidth=0.8, label=f"slow above {profile.slow_above:.3g} s")
    axes.set(yscale="log", ylim=(1e-5, 1.1), xlabel="service time, s", ylabel="share of jobs that take longer")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)
