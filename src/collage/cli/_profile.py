"""`collage profile`: the service-time profiles that there are. `collage fit-trace` makes one."""

from __future__ import annotations

import typer

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
