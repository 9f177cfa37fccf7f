"""Settings in files: what is wrong with one, in one line that names the file and the key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from collage.exceptions import SettingsError

Settings = TypeVar("Settings", bound=BaseModel)
# What a file that is no TOML raises; the last: brackets without end.
BAD_TOML = (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError)
_MOST_SHOWN = 300  # characters of a key or of what is wrong with it


def load_toml(path: Path, settings: type[Settings]) -> Settings:
    """The file as these settings. Raises SettingsError, one line that names the file and the key."""
    try:
        return settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except BAD_TOML as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from None
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong: `key: why`, or just why, where no single key is at fault."""
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return shortened(f"{key}: {message}" if key else message)


def shortened(text: str) -> str:
    """One line, however long and broken what it quotes is."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}…"
