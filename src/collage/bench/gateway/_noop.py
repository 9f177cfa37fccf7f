"""Models that do nothing: the first numbers of the image are its scores. Only what is around the model costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from collage.bench._toy_models import save_toy
from collage.zoo import ModelCard


class NoopModels(NamedTuple):
    """Paths of the cards."""

    single: Path
    collage: Path


def make_noop(folder: Path, like: ModelCard, grid: int = 3) -> NoopModels:
    """Write a single with the shapes and classes of `like`, and its collage-cnn. Needs the package `onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = _save(folder, like, 1, None)
    _save(folder, like, grid, digest)
    return NoopModels(folder / "noop.json", folder / f"noop-{grid}x{grid}.json")


def _save(folder: Path, like: ModelCard, grid: int, single: str | None) -> str:
    from onnx import TensorProto, helper  # noqa: PLC0415 - only who makes models needs it

    preprocessing = like.preprocessing
    channels, side, tiles = preprocessing.channels, preprocessing.size * grid, grid * grid
    columns = len(like.classes) + (grid > 1)  # the collage-cnn's last: "nothing to see here"
    rows = [tiles, columns] if grid > 1 else [columns]
    name = "noop" if grid == 1 else f"noop-{grid}x{grid}"

    def constant(key: str, values: list[int]) -> Any:
        return helper.make_tensor(key, TensorProto.INT64, [len(values)], values)

    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"], axis=1),
            helper.make_node("Slice", ["flat", "from", "to", "axis"], ["first"]),
            helper.make_node("Reshape", ["first", "shape"], ["logits"]),
        ],
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", *rows])],
        [
            constant("from", [0]),
            constant("to", [tiles * columns]),
            constant("axis", [1]),
            constant("shape", [0, *rows]),
        ],
    )
    return save_toy(
        folder, graph, preprocessing=preprocessing, classes=like.classes, grid=grid, unknown=grid > 1, single=single
    )
