"""`collage fit-trace`: a service-time profile from a trace of times, and a picture of how well it fits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from collage.exceptions import SettingsError


class Unit(StrEnum):
    """What the trace counts in."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"


_SECONDS = {Unit.SECONDS: 1.0, Unit.MILLISECONDS: 1e-3, Unit.MICROSECONDS: 1e-6}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fit-trace")(fit_trace)


def fit_trace(
    times: Annotated[Path, typer.Argument(help="Trace: .npy, or text with one time a line, in its last column.")],
    out: Annotated[
        Path | None, typer.Option(help="Profile to write (JSON), the picture beside it (PNG); NAME-profile.json here.")
    ] = None,
    unit: Annotated[Unit, typer.Option(help="What the trace counts in.")] = Unit.SECONDS,
    name: Annotated[str, typer.Option(help="Name of the profile; the trace's own where absent.")] = "",
    source: Annotated[str, typer.Option(help="Where the times come from, for whoever reads the profile.")] = "",
    slow_above: Annotated[
        float | None, typer.Option(help="A job longer than this many seconds is slow; 3 times the median where absent.")
    ] = None,
) -> None:
    """Fit a service-time profile to a trace, for the simulator and the bench.

    Times belong in the order in which one worker had them: how long slowness lasts is read from it.
    """
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from collage.bench import plot_fit
    from collage.simulation import Profile, load_times

    trace = load_times(times) * _SECONDS[unit]
    profile = Profile.fit(trace, name or times.stem, source=source, slow_above=slow_above)
    written = out or Path(f"{times.stem}-profile.json")
    picture = written.with_suffix(".png")
    try:
        written.write_text(profile.model_dump_json(indent=1) + "\n", "utf-8")
        plot_fit(profile, trace, picture)
    except OSError as error:
        raise SettingsError(f"out: {error.filename} cannot be written ({error.strerror})") from None

    table = Table("seconds", "trace", "profile")
    drawn = profile.draw(np.random.default_rng(0), 300_000)
    for label, measure in (("mean", np.mean), ("std", np.std)):
        table.add_row(label, f"{measure(trace):.4f}", f"{measure(drawn):.4f}")
    for label, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)):
        table.add_row(label, f"{np.quantile(trace, quantile):.4f}", f"{np.quantile(drawn, quantile):.4f}")
    console = Console()
    console.print(table)
    if profile.slow is None:
        console.print(f"slow jobs: none above {profile.slow_above:.4g} s")
    else:
        normal, slow = profile.normal_run * profile.normal.mean, profile.slow_run * profile.slow.mean
        console.print(f"slow jobs: {profile.slow_share:.2%}, in runs of {profile.slow_run:.1f} on average")
        console.print(f"as episodes of a busy worker: normal for {normal:.3g} s, slow for {slow:.3g} s")
    console.print(f"written: {written}, {picture}", soft_wrap=True)
