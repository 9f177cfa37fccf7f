"""An experiment's TOML file, checked: one line for whatever is wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from collage.exceptions import SettingsError

Settings = TypeVar("Settings", bound=BaseModel)


def load_toml(path: Path, settings: type[Settings]) -> Settings:
    """The file as these settings. Raises SettingsError, one line that names the file and the key."""
    try:
        return settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: no TOML ({error})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{path}: {key}: {message}" if key else f"{path}: {message}") from None
