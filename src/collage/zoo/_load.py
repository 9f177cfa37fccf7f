"""From a name or a path to a model whose file is the one its card describes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.files import first_problem
from collage.zoo._card import ModelCard

_SHIPPED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class LoadedModel:
    """A model's card, and its ONNX file, whose hash is the card's; decoder: a learned code's second file, likewise."""

    card: ModelCard
    path: Path
    decoder: Path | None = None


def load_model(name_or_path: str | Path) -> LoadedModel:
    """A shipped model by its name, or any by the path of its card (.json) or of its ONNX file (card beside it).

    Raises ModelError, one line: no such model, a damaged card (names the field), a file that is not the card's (hash).
    """
    card_path = _find_card(name_or_path)
    card = _read_card(card_path)
    if str(name_or_path).endswith(".onnx") and Path(name_or_path).name != card.file:
        raise ModelError(f"{card_path}: file: the card describes {card.file!r}, not {Path(name_or_path).name!r}")
    path = _check_file(card_path, card.file, card.sha256)
    second = card.decoder
    decoder = None if second is None else _check_file(card_path, second.file, second.sha256)
    return LoadedModel(card, path, decoder)


def list_models(folder: Path = _SHIPPED) -> list[LoadedModel]:
    """The shipped models, or those of another folder, by name. Raises ModelError as `load_model` does."""
    return [load_model(path) for path in sorted(folder.glob("*.json"), key=lambda path: path.stem)]


def check_bound(single: LoadedModel, backup: LoadedModel) -> None:
    """Raises ModelError unless `backup` was distilled from exactly this single and answers in its form."""
    ours, theirs = single.card, backup.card
    if theirs.single_sha256 != ours.sha256:
        raise ModelError(
            f"{theirs.name}: was made for another single (sha256 {str(theirs.single_sha256)[:12]}…) than"
            f" {ours.name} ({ours.sha256[:12]}…); distil it again from this one"
        )
    if theirs.classes != ours.classes:
        raise ModelError(f"{theirs.name}: classes differ from those of {ours.name}")
    if theirs.k is not None and theirs.preprocessing != ours.preprocessing:
        raise ModelError(f"{theirs.name}: preprocessing differs from that of {ours.name}, whose images it is made of")
    if theirs.output != ours.output:
        raise ModelError(f"{theirs.name}: gives {theirs.output}, but {ours.name} gives {ours.output}")


def worker_file(single: LoadedModel, model: LoadedModel) -> Path:
    """The ONNX file that workers run for `model`, which may be the single: a learned code's jobs run the single too."""
    return single.path if model.card.role is Role.LEARNED else model.path


def file_sha256(path: Path) -> str:
    """Hash of a file, lower-case hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_card(name_or_path: str | Path) -> Path:
    shipped = _SHIPPED / f"{name_or_path}.json"
    if isinstance(name_or_path, str) and Path(name_or_path).name == name_or_path and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.suffix == ".json" and path.is_file():
        return path
    if path.suffix == ".onnx" and path.is_file():
        card = path.with_suffix(".json")
        if not card.is_file():
            raise ModelError(f"{path}: has no card; {card.name} belongs beside it")
        return card
    names = ", ".join(sorted(card.stem for card in _SHIPPED.glob("*.json"))) or "none"
    raise ModelError(f"{name_or_path}: no model of that name and no .json or .onnx file there (shipped: {names})")


def _check_file(card_path: Path, name: str, sha256: str) -> Path:
    """The file that a card names, once its hash is the card's."""
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise ModelError(f"{card_path}: file: {name!r} must be a plain file name beside the card")
    path = card_path.with_name(name)
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); it belongs beside {card_path.name}") from error
    if found != sha256:
        raise ModelError(f"{path}: not the file that its card describes (sha256 {found[:12]}…, not {sha256[:12]}…)")
    return path


def _read_card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise ModelError(f"{path}: damaged card: {first_problem(error)}") from error
