"""Models that are made, not trained: a graph becomes a file with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collage.dispatch import Role
from collage.imaging import Preprocessing
from collage.zoo import ModelCard


def save_toy(
    folder: Path,
    graph: Any,
    *,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    grid: int = 1,
    unknown: bool = False,
    single: str | None = None,
) -> str:
    """Write an ONNX graph as a single (grid 1) or a collage-cnn, called as the graph is. Returns the file's hash.

    unknown: the last column means "nothing to see here". single: the hash of the single that a collage-cnn is bound
    to. Needs the package `onnx`.
    """
    from onnx import helper  # noqa: PLC0415 - only who makes models needs it

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = model.SerializeToString()
    (folder / f"{graph.name}.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    card = ModelCard(
        name=graph.name,
        version="1",
        role=Role.SINGLE if grid == 1 else Role.COLLAGE,
        file=f"{graph.name}.onnx",
        sha256=digest,
        preprocessing=preprocessing,
        classes=list(classes),
        grid=None if grid == 1 else grid,
        unknown=unknown,
        single_sha256=single,
    )
    (folder / f"{graph.name}.json").write_text(card.model_dump_json(indent=1), "utf-8")
    return digest
