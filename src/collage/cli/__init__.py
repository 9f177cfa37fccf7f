"""The commands. Thin: parse, call, print. Each command's own file imports what it needs when it runs."""

from collage.cli._app import main

__all__ = ["main"]
