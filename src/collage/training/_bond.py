"""Which single a backup belongs to, and who taught it: kept beside its training, and asked when it is exported."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from collage.exceptions import ModelError, SettingsError
from collage.zoo import LoadedModel

_FILE = "bond.json"


class _Bond(BaseModel):
    single: str | None  # sha256; None: a single itself
    teacher: str  # sha256


def bind(folder: Path, single: LoadedModel | None, teacher: LoadedModel) -> None:
    """Say in `folder` whose backup is trained there. Raises SettingsError where it says that it is another's."""
    bond = _Bond(single=None if single is None else single.card.sha256, teacher=teacher.card.sha256)
    if _read(folder) not in (None, bond):
        raise SettingsError(f"{folder} holds a training for another single, or by another teacher: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(bond.model_dump_json(indent=2) + "\n")


def has_own_teacher(folder: Path) -> bool:
    """Whether what is trained in `folder` learns from another net than its single."""
    bond = _read(folder)
    return bond is not None and bond.teacher != bond.single


def must_belong(folder: Path, name: str, single: LoadedModel) -> None:
    """Raises ModelError where the training in `folder`, of a backup `name`, was for another single.

    Without a bond, as in a distillation's folder, the single itself was the teacher, and its answers are there.
    """
    bond = _read(folder)
    if bond is not None:
        its = bond.single == single.card.sha256
    else:
        answers = list(folder.glob("answers-*.pt"))  # of whatever views
        its = not answers or any(single.card.sha256[:12] in path.name for path in answers)
    if not its:
        raise ModelError(f"{name} was trained for another single than this {single.card.name}")


def _read(folder: Path) -> _Bond | None:
    path = folder / _FILE
    return _Bond.model_validate_json(path.read_text()) if path.exists() else None
