"""A model called as serving calls it: its code makes the input of tensors, and ONNX Runtime runs the exported file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from collage.codes import make_code
from collage.data import PixelSet
from collage.exceptions import ModelError
from collage.imaging import normalise
from collage.training._evaluate import UNKNOWN, Answers, log_scores
from collage.zoo import LoadedModel, open_session, worker_file

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Group = Sequence[FloatArray | None]

_BATCH = 32


class Caller:
    """Calls one model on groups of tensors: as many as its code holds in a call, None for a blank.

    Raises ModelError for a parity, a learned code, and a collage-cnn that answers with boxes.
    """

    def __init__(self, model: LoadedModel, threads: int = 2) -> None:
        if model.card.head == "boxes":
            raise ModelError(f"{model.card.name}: answers with boxes, not with a row for each tile: leave it out here")
        if model.card.joint:
            raise ModelError(f"{model.card.name}: its output says nothing without the singles' answers")
        self.card = model.card
        self.code = make_code(model.card)
        self.tiles = self.code.capacity
        self._session = open_session(model.path, threads=threads)
        self._name = self._session.get_inputs()[0].name

    def columns(self, groups: Sequence[Group]) -> FloatArray:
        """Tensors (C, S, S) by group and tile, m groups -> the model's columns (m, N, K), as it gives them."""
        found = []
        for start in range(0, len(groups), _BATCH):
            batch = groups[start : start + _BATCH]
            full = [[*group, *[None] * (self.tiles - len(group))] for group in batch]
            inputs = np.concatenate([self.code.encode(group) for group in full])  # (B, C, H, W); a batch: (B * N, ...)
            outputs = np.asarray(self._session.run(None, {self._name: inputs})[0])
            found.append(outputs.reshape(len(batch), self.tiles, -1))
        return np.concatenate(found)

    def answers(self, columns: FloatArray) -> Answers:
        """Columns (m, N, K) -> class index and confidence (m, N), as serving decodes them."""
        index = np.full(columns.shape[:2], UNKNOWN)
        confidence = np.zeros(columns.shape[:2], np.float32)
        for row, output in enumerate(columns):
            for tile, answer in self.code.decode(output, range(self.tiles), {}).items():
                index[row, tile], confidence[row, tile] = int(answer.scores.argmax()), answer.confidence
        return Answers(index, confidence)


def deal_tiles(count: int, tiles: int, seed: int = 0) -> IntArray:
    """Full groups (m, N) of `count` images, each at one tile; the last group is filled up from the front."""
    order = np.random.default_rng(seed).permutation(count)
    return np.resize(order, (-(-count // tiles), tiles))


def read_columns(
    caller: Caller, images: PixelSet, groups: IntArray, told: Callable[[float], None] = lambda share: None
) -> FloatArray:
    """Columns as logits (n, K) by image: what each of n images got in `groups` (m, N), which hold all of them.

    `told` is given the share done, 0..1.
    """
    rows = []
    for start in range(0, len(groups), _BATCH):
        batch = groups[start : start + _BATCH]
        rows.append(
            caller.columns([[normalise(images.pixels[i], caller.card.preprocessing) for i in g] for g in batch])
        )
        told(min(1.0, (start + _BATCH) / len(groups)))
    columns = np.concatenate(rows)  # (m, N, K)
    found = np.empty((len(images), columns.shape[2]), np.float32)
    # From the end: where an image fills up the last group too, its first place counts.
    found[groups.ravel()[::-1]] = columns.reshape(-1, columns.shape[2])[::-1]
    return log_scores(found, caller.card.output)


def read_joint(
    model: LoadedModel,
    single: LoadedModel,
    images: PixelSet,
    scores: FloatArray,
    told: Callable[[float], None] = lambda share: None,
) -> FloatArray:
    """What a parity or a learned code rebuilds for n images, each missing once in a random group: logits (n, classes).

    scores: what the single says of the images, (n, classes), in its own form. Rows of zeros where nothing was rebuilt.
    """
    code, k = make_code(model.card, model.path.parent), model.card.capacity
    session = open_session(worker_file(single, model), threads=2)
    name = session.get_inputs()[0].name
    groups = deal_tiles(len(images), k)
    found = np.zeros((len(images), len(model.card.classes)), np.float32)
    for number, group in enumerate(groups):
        tensors = [normalise(images.pixels[i], model.card.preprocessing) for i in group]
        output = np.asarray(session.run(None, {name: code.encode(tensors)})[0])
        for missing, image in enumerate(group):
            present = {at: scores[other] for at, other in enumerate(group) if at != missing}
            answer = code.decode(output, range(k), present).get(missing)
            if answer is not None:
                found[image] = log_scores(answer.scores, model.card.output)
        told((number + 1) / len(groups))
    return found
