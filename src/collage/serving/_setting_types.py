"""Types of settings that may be the word 'none', or several names: TOML has no null, and a variable no list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field


def _none_by_name(value: object) -> object:
    """TOML has no null, and an environment variable no None: the word says it."""
    return None if isinstance(value, str) and value.strip().lower() in ("none", "") else value


OptionalPath = Annotated[Path | None, BeforeValidator(_none_by_name)]
OptionalPort = Annotated[int | None, BeforeValidator(_none_by_name)]
OptionalText = Annotated[str | None, BeforeValidator(_none_by_name)]
OptionalLevel = Annotated[Annotated[float, Field(ge=0, le=1)] | Literal["auto"] | None, BeforeValidator(_none_by_name)]


def _names(value: object) -> object:
    """One name is a string, several are a tuple; 'none', if only as one of them, is none."""
    if isinstance(value, str) and "," in value:
        value = value.split(",")
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        names = tuple(name.strip() for name in value)
        if "none" in map(str.lower, names):
            return None
        value = names[0] if len(names) == 1 else names
    return _none_by_name(value)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("http://HOST:PORT is needed")
    return value


OptionalUrl = Annotated[Annotated[str, AfterValidator(_url)] | None, BeforeValidator(_none_by_name)]
OptionalCount = Annotated[int | None, BeforeValidator(_none_by_name)]
OptionalNames = Annotated[str | tuple[str, ...] | None, BeforeValidator(_names)]
OptionalSeconds = Annotated[float | None, BeforeValidator(_none_by_name)]
