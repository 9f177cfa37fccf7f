"""`collage profile`: service-time profiles, and fitting one to a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collage.exceptions import SettingsError

_profiles = typer.Typer(help="Service-time profiles: what the bench and the simulation draw times from.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.add_typer(_profiles, name="profile")


@_profiles.command("list")
def _list() -> None:
    """Show the shipped profiles."""
    from rich.console import Console
    from rich.table import Table

    from collage.simulation import list_profiles, load_profile

    table = Table("name", "jobs", "mean, s", "slow share", "slow / normal", "from")
    for name in list_profiles():
        profile = load_profile(name)
        ratio = f"{profile.slow.mean / profile.normal.mean:.1f}" if profile.slow else "-"
        row = (name, f"{profile.jobs:,}", f"{profile.mean:.3f}", f"{profile.slow_share:.2%}", ratio, profile.source)
        table.add_row(*row)
    Console().print(table)


@_profiles.command("fit")
def _fit(
    times: Annotated[Path, typer.Argument(help="Trace: .npy, or text with one time a line, seconds.", exists=True)],
    out: Annotated[Path, typer.Option(help="Profile to write (JSON); a picture of the fit goes beside it (PNG).")],
    name: Annotated[str, typer.Option(help="Name of the profile; the file's own where absent.")] = "",
    source: Annotated[str, typer.Option(help="Where the times come from, for whoever reads the profile.")] = "",
    slow_above: Annotated[
        float | None, typer.Option(help="A job longer than this many seconds is slow; 3 times the median where absent.")
    ] = None,
) -> None:
    """Fit a profile to a trace of service times."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from collage.bench import plot_fit
    from collage.simulation import Profile, load_times

    trace = load_times(times)
    profile = Profile.fit(trace, name or out.stem, source=source, slow_above=slow_above)
    try:
        out.write_text(profile.model_dump_json(indent=1) + "\n", "utf-8")
    except OSError as error:
        raise SettingsError(f"out: {out} cannot be written ({error.strerror})") from None
    plot_fit(profile, trace, out.with_suffix(".png"))

    table = Table("seconds", "trace", "profile")
    drawn = profile.draw(np.random.default_rng(0), 1_000_000)
    for label, measure in (("mean", np.mean), ("std", np.std)):
        table.add_row(label, f"{measure(trace):.4f}", f"{measure(drawn):.4f}")
    for label, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)):
        table.add_row(label, f"{np.quantile(trace, quantile):.4f}", f"{np.quantile(drawn, quantile):.4f}")
    console = Console()
    console.print(table)
    console.print(f"slow jobs: {profile.slow_share:.2%}, in runs of {profile.slow_run:.1f} on average")
    console.print(f"written: {out}, {out.with_suffix('.png')}", soft_wrap=True)
