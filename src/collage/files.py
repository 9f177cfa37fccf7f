"""Settings in files: what is wrong with one, in one line that names the file and the key."""

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
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from None
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong: `key: why`, or just why, where no single key is at fault."""
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
