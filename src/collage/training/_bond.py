"""Which single a backup belongs to, and who taught it: kept beside its training, and asked when it is exported."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from collage.exceptions import ModelError, SettingsError
from collage.zoo import LoadedModel


class _Bond(BaseModel):
    single: str | None  # sha256; None: a single itself
    teacher: str  # sha256


def bind(folder: Path, single: LoadedModel | None, teacher: LoadedModel) -> None:
    """Say in `folder` whose backup is trained there. Raises SettingsError where it says that it is another's."""
    path = folder / "bond.json"
    bond = _Bond(single=None if single is None else single.card.sha256, teacher=teacher.card.sha256)
    if path.exists() and _Bond.model_validate_json(path.read_text()) != bond:
        raise SettingsError(f"{folder} holds a training for another single, or by another teacher: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(bond.model_dump_json(indent=2) + "\n")


def has_own_teacher(folder: Path) -> bool:
    """Whether what is trained in `folder` learns from another net than its single."""
    path = folder / "bond.json"
    if not path.exists():
        return False
    bond = _Bond.model_validate_json(path.read_text())
    return bond.teacher != bond.single


def must_belong(folder: Path, name: str, single: LoadedModel) -> None:
    """Raises ModelError where the training in `folder`, of a backup `name`, was for another single."""
    path = folder / "bond.json"
    if path.exists() and _Bond.model_validate_json(path.read_text()).single != single.card.sha256:
        raise ModelError(f"{name} was trained for another single than this {single.card.name}")
