"""Any ONNX classifier becomes a single: what it takes and gives is read from the file, and the rest is said in words.

A file that serving could not feed as it is (channels last, or labels before scores) is copied with the step put in
front or the output taken away; else the card is written beside the file itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collage.dispatch import Role
from collage.exceptions import ModelError, SettingsError
from collage.files import BAD_TOML, first_problem
from collage.imaging import Interpolation, Preprocessing
from collage.training._graph_cost import count_graph
from collage.zoo import Cost, LoadedModel, ModelCard, file_sha256, load_model, open_session, run_batch

_SUMS_TO_ONE = 1e-3


class SingleFacts(BaseModel):
    """What an ONNX file does not say of itself: a small TOML or JSON file beside it, or flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(default=None, description="None: the file's own")
    size: int | None = Field(default=None, description="side of the input, pixels; None: as the file says")
    resize: int | None = Field(default=None, description="shorter side before the crop; None: size")
    mean: tuple[float, ...] | None = Field(default=None, description="of pixels scaled to 0..1, one a channel")
    std: tuple[float, ...] | None = None
    interpolation: Interpolation = "bilinear"
    output: Literal["logits", "probabilities"] | None = Field(default=None, description="None: seen from its answers")
    classes: tuple[str, ...] | None = Field(default=None, description="names, in the order of its outputs")
    licence: str = ""

    def changed(self, **given: Any) -> Self:
        """With what is given instead; None: not given."""
        return type(self).model_validate(self.model_dump() | {k: v for k, v in given.items() if v is not None})


def read_facts(path: Path) -> SingleFacts:
    """Facts from a TOML or JSON file. Raises SettingsError that names the key."""
    try:
        text = path.read_text("utf-8")
        return SingleFacts.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (*BAD_TOML, json.JSONDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}") from error


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of the single's outputs: one a line, or a JSON list. Raises SettingsError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: no text ({error})") from error
    if path.suffix == ".json":
        try:
            return tuple(str(name) for name in json.loads(text))
        except (json.JSONDecodeError, TypeError, RecursionError) as error:
            raise SettingsError(f"{path}: no JSON list of names ({error})") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def bring_single(
    path: Path, facts: SingleFacts, out: Path, *, folders: Sequence[str] | None = None, dataset: str = ""
) -> LoadedModel:
    """Write the card of an ONNX classifier that has none, and load it.

    `folders`: sorted names of the class folders, which name the classes where nothing else does. `out` takes the copy
    of a file that has to be adapted. Raises ModelError and SettingsError, one line each, for a file that is no
    classifier of one image or does not fit what is said of it.
    """
    found = _look(path)
    size = facts.size or found.size
    if size is None:
        raise SettingsError(f"{path}: takes images of any size: say which (--size)")
    if found.size is not None and found.size != size:
        raise SettingsError(f"size: {size}, but {path} takes images of {found.size} x {found.size}")
    if facts.mean is None or facts.std is None:
        raise SettingsError(
            f"{path}: say how pixels, scaled to 0..1, are normalised (--mean and --std, one number a channel;"
            " 0 and 1 leave them as they are)"
        )
    try:
        preprocessing = Preprocessing(
            size=size,
            resize=facts.resize,
            channels=found.channels,
            mean=_per_channel(facts.mean, found.channels),
            std=_per_channel(facts.std, found.channels),
            interpolation=facts.interpolation,
        )
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}") from error
    served = path
    if found.adapt:
        out.mkdir(parents=True, exist_ok=True)
        served = out / f"{_name(path)}-adapted.onnx"
        _adapt(path, served, found, size)
    scores = _try(served, preprocessing)
    count = scores.shape[1]
    classes = list(facts.classes or folders or [f"class-{index:0{len(str(count - 1))}d}" for index in range(count)])
    if len(classes) != count:
        said = "class folders" if facts.classes is None else "names"
        raise ModelError(
            f"{path}: gives {count} classes, not the {len(classes)} {said} (--classes names them in order)"
        )
    macs, params = count_graph(served, (1, found.channels, size, size))
    try:
        card = ModelCard(
            name=facts.name or _name(path),
            role=Role.SINGLE,
            file=served.name,
            sha256=file_sha256(served),
            preprocessing=preprocessing,
            classes=classes,
            output=facts.output or _form(scores),
            dataset=dataset,
            licence=facts.licence,
            cost=None if macs is None else Cost(macs=macs, params=params),
        )
    except ValidationError as error:
        raise SettingsError(f"{path}: {first_problem(error)}") from error
    card_path = served.with_suffix(".json")
    try:
        card_path.write_text(card.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise ModelError(f"{card_path}: cannot be written ({error.strerror}); the card belongs there") from error
    return load_model(card_path)


class _Found(NamedTuple):
    """What a file says of itself."""

    size: int | None  # None: any
    channels: Literal[1, 3]
    last: bool  # channels come last: (N, H, W, C)
    output: str  # the scores
    adapt: bool


def _look(path: Path) -> _Found:
    session = open_session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise ModelError(f"{path}: has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}); one image is needed")
    shape, kind = inputs[0].shape, inputs[0].type
    if kind != "tensor(float)":
        raise ModelError(f"{path}: its input is {kind}; float32, tensor(float), is needed")
    if len(shape) != 4:
        raise ModelError(f"{path}: its input has shape {shape}; (N, C, H, W) is needed: put a Reshape in front of it")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ModelError(f"{path}: takes {shape[0]} images a call; 1 or any number is needed")
    last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    channels, sides = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
    if channels not in (1, 3):
        raise ModelError(f"{path}: its input has shape {shape}; 1 or 3 channels are needed, grey or RGB")
    fixed = [side for side in sides if isinstance(side, int)]
    if len(set(fixed)) > 1:
        raise ModelError(f"{path}: takes images of {' x '.join(map(str, sides))}; a square is needed")
    scores = [o.name for o in outputs if o.type == "tensor(float)" and (o.shape is None or len(o.shape) in (0, 2))]
    if not scores:
        shapes = ", ".join(f"{o.name}: {o.type} {o.shape}" for o in outputs)
        raise ModelError(f"{path}: no output is float32 (N, classes) ({shapes})")
    return _Found(fixed[0] if fixed else None, channels, last, scores[0], last or scores[0] != outputs[0].name)


def _adapt(path: Path, out: Path, found: _Found, size: int) -> None:
    """Write a copy that takes (N, C, H, W) and gives only the scores."""
    model = onnx.load(str(path))
    graph = model.graph
    if found.last:
        known = {tensor.name for tensor in graph.initializer}
        old = next(value for value in graph.input if value.name not in known)
        batch = old.type.tensor_type.shape.dim[0]
        shape = [batch.dim_value if batch.HasField("dim_value") else "batch", found.channels, size, size]
        graph.node.insert(0, helper.make_node("Transpose", ["images"], [old.name], perm=[0, 2, 3, 1]))
        graph.input.remove(old)
        graph.input.insert(0, helper.make_tensor_value_info("images", TensorProto.FLOAT, shape))
    kept = [value for value in graph.output if value.name == found.output]
    del graph.output[:]
    graph.output.extend(kept)
    onnx.save(model, str(out))


def _try(path: Path, preprocessing: Preprocessing) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Scores (4, classes) for noise. Raises ModelError where the model does not run or is no classifier."""
    shape = (4, preprocessing.channels, preprocessing.size, preprocessing.size)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    try:
        scores = run_batch(open_session(path), noise)
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's classes share no public base
        raise ModelError(f"{path}: does not run on {shape} ({' '.join(str(error).split())[:200]})") from error
    if scores.ndim != 2 or len(scores) != 4 or scores.shape[1] < 2:
        raise ModelError(f"{path}: gives {scores.shape} for 4 images; (4, classes) is needed, 2 classes or more")
    if not np.isfinite(scores).all():
        raise ModelError(f"{path}: gives values that are not finite for an image of noise")
    return scores


def _form(scores: np.ndarray[Any, np.dtype[np.float32]]) -> Literal["logits", "probabilities"]:
    sums = np.abs(scores.sum(1) - 1).max() < _SUMS_TO_ONE
    return "probabilities" if sums and scores.min() >= 0 else "logits"


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _name(path: Path) -> str:
    """A card's name from a file's."""
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._") or "single"
