"""A fleet file: which workers there are, here and on remote servers, and what each may run.

    [[local]]                      # processes on this machine
    workers = 2

    [[remote]]                     # servers of the Open Inference Protocol
    urls = ["http://gpu-a:8000", "http://gpu-b:8000"]
    roles = ["single"]             # or ["backup"], or both, which is the default
    slots = 2
    single = { model = "resnet", version = "1" }

Who runs backups runs all backup models of the gateway, one of each role. Names of models and tensors are by default
those of the cards and the ONNX files here.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collage.dispatch import Role
from collage.engines import OipOptions, TlsOptions
from collage.exceptions import SettingsError
from collage.files import BAD_TOML, shortened

FleetRole = Literal["single", "backup"]
_BOTH: tuple[FleetRole, ...] = ("single", "backup")


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemoteNames(_Group):
    """What a model and its tensors are called on the servers."""

    model: str | None = Field(default=None, min_length=1, description="absent: the card's name")
    version: str | None = Field(default=None, min_length=1, description="absent: whichever the server takes")
    input: str | None = Field(default=None, min_length=1, description="absent: as in the ONNX file")
    output: str | None = Field(default=None, min_length=1, description="absent: as in the ONNX file")


class LocalGroup(_Group):
    """Worker processes on this machine."""

    workers: int = Field(ge=1, le=256, description="how many")
    threads: int = Field(default=1, ge=1, le=64, description="of one worker's model runtime")
    roles: tuple[FleetRole, ...] = Field(default=_BOTH, min_length=1, description="what they may run")


class RemoteGroup(OipOptions):
    """Servers that are talked to in the same way."""

    urls: tuple[str, ...] = Field(
        min_length=1, description="http(s)://HOST:PORT, a path prefix allowed; or grpc(s)://HOST:PORT"
    )
    roles: tuple[FleetRole, ...] = Field(default=_BOTH, min_length=1, description="what they may run")
    single: RemoteNames = Field(default_factory=RemoteNames, description="the single's names there")
    backup: RemoteNames | None = Field(default=None, description="the backup's names there, where there is one backup")
    backups: dict[Role, RemoteNames] = Field(default_factory=dict, description="the names of each, by role")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if Role.SINGLE in self.backups:
            raise ValueError("backups: a single is none; its names are in single")
        if self.backup is not None and self.backups:
            raise ValueError("backup: there is backups, too, which says it of each role; leave one of the two out")
        return self

    def names(self, role: Role) -> RemoteNames:
        """Of the model for a role."""
        return self.single if role is Role.SINGLE else self.backups.get(role, self.backup or RemoteNames())


class Fleet(_Group):
    """All workers."""

    local: tuple[LocalGroup, ...] = ()
    remote: tuple[RemoteGroup, ...] = ()


def load_fleet(path: Path) -> Fleet:
    """A fleet file. Files that it names are looked for beside it. Raises SettingsError, one line that names the key."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"fleet: {path} cannot be read ({error.strerror})") from None
    except BAD_TOML as error:
        raise SettingsError(f"fleet: {path} is no valid TOML ({error})") from None
    _place(content, path.parent)
    try:
        fleet = Fleet.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"fleet: {path}: {_first(error)}") from None
    if not fleet.local and not fleet.remote:
        raise SettingsError(f"fleet: {path}: no workers; a [[local]] or [[remote]] is needed")
    return fleet


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, by its key; never the value, which may be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = {
            name for kind in (Fleet, LocalGroup, RemoteGroup, RemoteNames, TlsOptions) for name in kind.model_fields
        }
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        message = f"no such key{f'; did you mean {close[0]}?' if close else ''}"
    return shortened(f"{key}: {message[:1].lower()}{message[1:]}")


def _place(content: dict[str, Any], folder: Path) -> None:
    """Paths of the file are relative to its folder."""
    remote = content.get("remote")
    for group in remote if isinstance(remote, list) else ():
        tls = group.get("tls") if isinstance(group, dict) else None
        for name in ("ca", "certificate", "key"):
            if isinstance(tls, dict) and isinstance(tls.get(name), str):
                tls[name] = str(folder / tls[name])
