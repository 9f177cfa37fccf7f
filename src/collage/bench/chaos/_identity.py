"""Images that carry a number, and models that read it from the pixels, as a single or on any tile of a collage.

So every answer says whose it is: one that was given to another query, or read from another tile, is caught.
The number is ten squares of 4 x 4 pixels, black or white; a model averages each square and names the number nearest.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collage.bench._toy_models import save_toy
from collage.imaging import Preprocessing

NUMBERS = 1024
_BITS = 10
_SQUARE = 4
SIDE = 16  # pixels: 4 x 4 squares, the last six of which are grey
_SCALE = 10.0  # of the logits: the nearest number beats one that differs in a bit by 20
_APART = 617  # odd, so that numbers come back after NUMBERS queries only, and neighbours in time differ in many bits


class IdentityModels(NamedTuple):
    """Paths of the cards."""

    single: Path
    collage: Path


def number_of(query: int) -> int:
    """The number that the query with this index carries: no other of the 1023 before and after it has the same."""
    return query * _APART % NUMBERS


def label_of(number: int) -> str:
    """Its class, by name."""
    return f"n{number}"


def pixels(number: int) -> NDArray[np.uint8]:
    """The image of a number, uint8 (SIDE, SIDE)."""
    squares = np.full(16, 128, np.uint8)
    squares[:_BITS] = [255 * (number >> bit & 1) for bit in range(_BITS)]
    return np.kron(squares.reshape(4, 4), np.ones((_SQUARE, _SQUARE), np.uint8))


@cache
def png(number: int) -> bytes:
    """The image of a number as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "PNG")
    return file.getvalue()


def make_models(folder: Path, grid: int = 3) -> IdentityModels:
    """Write the single and its collage-cnn, with their cards. Needs the package `onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = _save(folder, "identity", 1, None)
    _save(folder, f"identity-{grid}x{grid}", grid, digest)
    return IdentityModels(folder / "identity.json", folder / f"identity-{grid}x{grid}.json")


def _save(folder: Path, name: str, grid: int, single: str | None) -> str:
    """One model: squares averaged, tile by tile, then a logit for each number. Returns the file's hash."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - only who makes models needs it

    side, tiles, squares = SIDE * grid, grid * grid, SIDE // _SQUARE
    bits = np.arange(NUMBERS)[None, :] >> np.arange(_BITS)[:, None] & 1  # (bits, numbers)
    signs = np.zeros((16, NUMBERS), np.float32)
    signs[:_BITS] = 2.0 * bits - 1.0
    # sum of (2 square - 1) * sign, times the scale: a line for each number, highest where all its bits are met.
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, signs.shape, (2 * _SCALE * signs).ravel()),
        helper.make_tensor("b", TensorProto.FLOAT, [NUMBERS], -_SCALE * signs.sum(0)),
        helper.make_tensor("apart", TensorProto.INT64, [5], [-1, grid, squares, grid, squares]),
        helper.make_tensor("rows", TensorProto.INT64, [3], [-1, tiles, 16]),
        helper.make_tensor("row", TensorProto.INT64, [2], [-1, 16]),
    ]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[_SQUARE] * 2, strides=[_SQUARE] * 2),
        helper.make_node("Reshape", ["means", "apart"], ["by_tile"]),  # (n, tile row, row, tile column, column)
        helper.make_node("Transpose", ["by_tile"], ["tiles"], perm=[0, 1, 3, 2, 4]),
        helper.make_node("Reshape", ["tiles", "rows" if grid > 1 else "row"], ["squares"]),
        helper.make_node("MatMul", ["squares", "w"], ["scaled"]),
        helper.make_node("Add", ["scaled", "b"], ["logits"]),
    ]
    shape: list[str | int | None] = ["n", tiles, NUMBERS] if grid > 1 else ["n", NUMBERS]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        constants,
    )
    return save_toy(
        folder,
        graph,
        preprocessing=Preprocessing(size=SIDE, channels=1, mean=(0.0,), std=(1.0,)),
        classes=[label_of(number) for number in range(NUMBERS)],
        grid=grid,
        single=single,
    )
