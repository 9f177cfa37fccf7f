"""What a model is worth on test images: A_a, A_d by tile and by fill, confusion, and every image's answer.

Runs the exported ONNX file through the same codes as serving, so that what is measured is what is served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collage.codes import make_code
from collage.data import PixelSet
from collage.exceptions import ModelError
from collage.imaging import normalise
from collage.training._calibration import BINS, calibration_error
from collage.zoo import LoadedModel, open_session, run_batch

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Progress = Callable[[float], None]

_CHECKED = 16  # groups of an isolated collage-cnn that are looked at with other neighbours, places and fills
_ROUNDING = 1e-3  # of a confidence: kernels add up in another order at another place

UNKNOWN = -1  # as a class index: the backup said that there is nothing to see
_BATCH = 32


@dataclass(frozen=True)
class Answers:
    """Answers for n images: class index int64 (n,), UNKNOWN where there is none; confidence float32 (n,), 0..1."""

    index: IntArray
    confidence: FloatArray

    def accuracy(self, labels: IntArray) -> float:
        """Share of right answers; an unknown one is not right."""
        return float((self.index == labels).mean())

    def calibration_error(self, labels: IntArray, bins: int = BINS) -> float:
        """ECE, 0..1, of the known answers: unknown ones promise nothing; 0 where there are no others."""
        known = self.index != UNKNOWN
        return calibration_error(self.confidence[known], (self.index == labels)[known], bins)


@dataclass(frozen=True)
class CollageReport:
    """A_d of a collage-cnn; `answers` has one for each image, at a random tile of a full collage."""

    answers: Answers
    per_position: list[float]  # by tile of full collages
    per_fill: list[float]  # by number of filled tiles, from 1: the first tiles, as groups that close early fill them

    @property
    def accuracy(self) -> float:
        """Mean over positions: every image was seen at each."""
        return float(np.mean(self.per_position))


def classify_images(model: LoadedModel, images: PixelSet) -> Answers:
    """Answers of a single or a cheap, one image each."""
    return _answers(log_scores(score_images(model, images), model.card.output) / model.card.temperature)


def score_images(model: LoadedModel, images: PixelSet) -> FloatArray:
    """What a single or a cheap says of each image, in its own form: (n, classes)."""
    session = open_session(model.path, threads=2)
    scores: list[FloatArray] = []
    for start in range(0, len(images), _BATCH):
        batch = np.stack([normalise(p, model.card.preprocessing) for p in images.pixels[start : start + _BATCH]])
        scores.append(run_batch(session, batch))  # (B, classes)
    return np.concatenate(scores)


def classify_batches(model: LoadedModel, images: PixelSet) -> Answers:
    """Answers of a batch. Its rows know nothing of each other: position and fill make no difference."""
    runner, order = _Groups(model, images), np.arange(len(images))
    groups = np.resize(order, (-(-len(order) // runner.tiles), runner.tiles))  # the last one is filled up
    index, confidence = runner.run(groups)
    return Answers(index.ravel()[order], confidence.ravel()[order])


def evaluate_collage(
    model: LoadedModel, images: PixelSet, *, seed: int = 0, progress: Progress = lambda share: None
) -> CollageReport:
    """Every image at every tile of full collages, and once in collages of every fill.

    In a collage-cnn whose card says that it is isolated, neither tile nor fill nor neighbours make a difference: that
    is looked at in some collages, and then every image is answered once. Collages are drawn by `seed`. `progress` is
    told the share done, 0..1. Raises ModelError for a model of one image, and for one that is not as isolated as its
    card says.
    """
    if model.card.grid is None:
        raise ModelError(f"{model.card.name} is no collage")
    runner = _Groups(model, images)
    tiles, count, rng = runner.tiles, len(images), np.random.default_rng(seed)
    if model.card.isolated:
        answers = _answer_once(runner, model.card.name, count, rng)
        progress(1.0)
        accuracy = answers.accuracy(images.labels)
        return CollageReport(answers, [accuracy] * tiles, [accuracy] * tiles)
    order = rng.permutation(count)
    work, done = tiles + sum(1 / fill for fill in range(1, tiles + 1)), 0.0
    answers = Answers(np.full(count, UNKNOWN), np.zeros(count, np.float32))
    turn = rng.integers(tiles, size=count)  # at which tile an image's answer is the one in the outcomes
    right = np.zeros((count, tiles), bool)
    # The images are dealt into as many columns as there are tiles. In each rotation every column moves on by one tile,
    # so that an image meets each tile once, and is shuffled, so that it meets other neighbours. A short column is
    # filled up with images of its own: the collages stay full, and an image still counts once at a tile.
    columns = [np.resize(part, -(-count // tiles)) for part in np.array_split(order, tiles)]
    for rotation in range(tiles):
        groups = np.stack([rng.permutation(columns[(tile - rotation) % tiles]) for tile in range(tiles)], axis=1)
        index, confidence = runner.run(groups)
        right[groups, np.arange(tiles)] = index == images.labels[groups]
        now = turn[groups] == np.arange(tiles)
        answers.index[groups[now]], answers.confidence[groups[now]] = index[now], confidence[now]
        done += 1
        progress(done / work)
    per_fill = []
    for fill in range(1, tiles + 1):
        groups = np.resize(order, (-(-count // fill), fill))  # a short last group is filled up from the front
        index, _ = runner.run(groups)
        right_now = np.zeros(count, bool)
        right_now[groups] = index == images.labels[groups]
        per_fill.append(float(right_now.mean()))
        done += 1 / fill
        progress(min(1.0, done / work))
    return CollageReport(answers, [float(share) for share in right.mean(0)], per_fill)


def _answer_once(runner: _Groups, name: str, count: int, rng: np.random.Generator) -> Answers:
    """Of an isolated collage-cnn. Raises ModelError where another tile, fill or neighbour changes an answer."""
    order = rng.permutation(count)
    some = np.resize(order, (_CHECKED, runner.tiles))
    for groups in (rng.permuted(some, axis=1), rng.permutation(some.ravel()).reshape(some.shape), some.reshape(-1, 1)):
        usual, other = _gather(runner, some, count), _gather(runner, groups, count)
        if (usual.index != other.index).any() or np.abs(usual.confidence - other.confidence).max() > _ROUNDING:
            raise ModelError(f"{name}: its card says isolated, and a tile's answer depends on what is beside it")
    return _gather(runner, np.resize(order, (-(-count // runner.tiles), runner.tiles)), count)


def _gather(runner: _Groups, groups: IntArray, count: int) -> Answers:
    """What a run says of `count` images; unknown of those in no group."""
    answers = Answers(np.full(count, UNKNOWN), np.zeros(count, np.float32))
    answers.index[groups], answers.confidence[groups] = runner.run(groups)
    return answers


class _Groups:
    """Runs groups of images through code and model, some at a time."""

    def __init__(self, model: LoadedModel, images: PixelSet) -> None:
        card = model.card
        self.tiles = card.capacity
        self._code = make_code(card)
        self._session = open_session(model.path, threads=2)
        self._name = self._session.get_inputs()[0].name
        self._pixels, self._preprocessing = images.pixels, card.preprocessing

    def run(self, groups: IntArray) -> tuple[IntArray, FloatArray]:
        """Images by group and tile (m, fill), fill <= g*g -> class index and confidence of each, (m, fill)."""
        index = np.full(groups.shape, UNKNOWN)
        confidence = np.zeros(groups.shape, np.float32)
        filled = range(groups.shape[1])
        for start in range(0, len(groups), _BATCH):
            batch = groups[start : start + _BATCH]
            inputs = np.concatenate([self._code.encode([self._input(i) for i in group]) for group in batch])
            outputs = self._session.run(None, {self._name: inputs})[0]  # (B, N, classes[+1]), of a batch (B * fill, …)
            for row, output in enumerate(outputs.reshape(len(batch), -1, outputs.shape[-1]), start):
                for tile, answer in self._code.decode(output, filled, {}).items():
                    index[row, tile], confidence[row, tile] = int(answer.scores.argmax()), answer.confidence
        return index, confidence

    def _input(self, image: int) -> FloatArray:
        return normalise(self._pixels[image], self._preprocessing)


def confusion(answers: Answers, labels: IntArray, classes: int) -> IntArray:
    """Counts (classes, classes + 1): row the label, column the answer, the last column unknown."""
    table = np.zeros((classes, classes + 1), np.int64)
    np.add.at(table, (labels, np.where(answers.index == UNKNOWN, classes, answers.index)), 1)
    return table


def log_scores(scores: FloatArray, output: str) -> FloatArray:
    """Logits of a model's columns (..., K), whichever it gives: a softmax of them is its probabilities."""
    return scores if output == "logits" else np.log(scores.clip(1e-12, 1.0))


def _answers(logits: FloatArray) -> Answers:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    chances = shifted / shifted.sum(1, keepdims=True)
    return Answers(chances.argmax(1).astype(np.int64), chances.max(1).astype(np.float32))
