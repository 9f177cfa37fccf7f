"""The `collage` command: one Typer application, made of one file per command."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer

import collage.cli
from collage import __version__
from collage.exceptions import CollageError

app = typer.Typer(
    name="collage",
    help="Image classification whose tail latency stays close to its median.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_EXTRAS = {"matplotlib": "bench", "onnx": "train", "onnxscript": "train", "torch": "train"}  # what each comes with


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. Errors raised on purpose are one line on stderr and exit status 2."""
    # A module of this folder that has `register(app)` is a command; heavy imports wait until it runs.
    for found in sorted(pkgutil.iter_modules(collage.cli.__path__)):
        module = importlib.import_module(f"collage.cli.{found.name}")
        if hasattr(module, "register"):
            module.register(app)
    try:
        app()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(package)
        if extra is None:
            raise
        typer.echo(f"collage: {package} is not installed: pip install 'collage-inference[{extra}]'", err=True)
        sys.exit(2)
    except CollageError as error:
        typer.echo(f"collage: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
