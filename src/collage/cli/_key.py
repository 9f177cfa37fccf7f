"""`collage key new TENANT`: a key for a caller, and the line that lets the gateway know it."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    keys = typer.Typer(no_args_is_help=True, help="Keys of those who may call a gateway.")
    keys.command("new")(new)
    app.add_typer(keys, name="key")


def new(
    tenant: str | None = typer.Argument(None, help="Name of the tenant; letters, digits, '.', '_' and '-'"),
    admin: bool = typer.Option(
        False, "--admin", help="A key for admins: switches, pictures, and all that monitors see"
    ),
    monitor: bool = typer.Option(False, "--monitor", help="A key for metrics, the first page and its status"),
) -> None:
    """Make a key. It is shown here and nowhere else: the settings hold only its digest."""
    from pydantic import TypeAdapter, ValidationError

    from collage.exceptions import SettingsError
    from collage.serving.safety import TenantName, digest, new_key

    if [tenant is not None, admin, monitor].count(True) != 1:
        raise SettingsError("one of TENANT, --admin and --monitor is needed")
    if tenant is not None:
        try:
            TypeAdapter(TenantName).validate_python(tenant)
        except ValidationError as error:
            raise SettingsError(f"TENANT: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    key = new_key()
    line = f'["{digest(key)}"]'
    typer.echo(key)
    typer.echo("\nThe key above is shown only now. In the gateway's settings, which hold no key, only its digest:\n")
    if tenant is not None:
        typer.echo(f"[tenants.{tenant if '.' not in tenant else chr(34) + tenant + chr(34)}]\nkeys = {line}")
    else:
        typer.echo(f"{'admin' if admin else 'monitor'}_keys = {line}")
