"""What a backup is worth on test images; and of a parity or a learned code, A_d for every position that may be missing.

Groups are random; the singles' own answers stand for the others, as in serving. What coding takes is measured too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from collage.codes import make_code
from collage.data import PixelSet
from collage.dispatch import Role
from collage.imaging import normalise
from collage.training._evaluate import (
    UNKNOWN,
    Answers,
    CollageReport,
    FloatArray,
    Progress,
    classify_batches,
    classify_images,
    evaluate_collage,
)
from collage.zoo import LoadedModel, open_session, worker_file

_BATCH = 32
_TIMED = 500


@dataclass(frozen=True)
class JointReport:
    """A_d of a joint code; `answers` has one for each image, missing at a random position."""

    answers: Answers
    per_position: list[float]  # by the position that is missing

    @property
    def accuracy(self) -> float:
        """Mean over positions: every image was missing at each."""
        return float(np.mean(self.per_position))


def evaluate_backup(
    model: LoadedModel,
    images: PixelSet,
    single: LoadedModel,
    scores: Callable[[], FloatArray],
    *,
    progress: Progress = lambda share: None,
) -> tuple[Answers, CollageReport | JointReport | None]:
    """A backup's answers, and where it holds several images, the report by position that they are from.

    scores: gives what the single says of the images, (n, classes), for codes that need it.
    """
    report: CollageReport | JointReport
    if model.card.role is Role.BATCH:
        return classify_batches(model, images), None
    if model.card.k is not None:
        report = evaluate_joint(model, images, single, scores(), progress=progress)
    elif model.card.capacity == 1:
        return classify_images(model, images), None
    else:
        report = evaluate_collage(model, images, progress=progress)
    return report.answers, report


def evaluate_joint(
    model: LoadedModel,
    images: PixelSet,
    single: LoadedModel,
    scores: FloatArray,
    *,
    seed: int = 0,
    progress: Progress = lambda share: None,
) -> JointReport:
    """Every image missing once at every position, each time among others. Groups are drawn by `seed`.

    scores: what the single says of the images, (n, classes), in its own form. `progress` is told the share done, 0..1.
    """
    code, k, count = make_code(model.card, model.path.parent), model.card.capacity, len(images)
    session = open_session(worker_file(single, model), threads=2)
    name, rng = session.get_inputs()[0].name, np.random.default_rng(seed)
    tensors = [normalise(pixels, model.card.preprocessing) for pixels in images.pixels]
    answers = Answers(np.full(count, UNKNOWN), np.zeros(count, np.float32))
    turn = rng.integers(k, size=count)  # missing at which position an image's answer is the one in the outcomes
    right = np.zeros((count, k), bool)
    # As with collages: columns move on by one position each rotation, and are shuffled; a short one is filled up.
    columns = [np.resize(part, -(-count // k)) for part in np.array_split(rng.permutation(count), k)]
    for rotation in range(k):
        groups = np.stack([rng.permutation(columns[(at - rotation) % k]) for at in range(k)], axis=1)  # (m, k)
        for start in range(0, len(groups), _BATCH):
            batch = groups[start : start + _BATCH]
            inputs = np.concatenate([code.encode([tensors[image] for image in group]) for group in batch])
            for group, output in zip(batch, session.run(None, {name: inputs})[0], strict=True):
                for missing, image in enumerate(group):
                    present = {at: scores[other] for at, other in enumerate(group) if at != missing}
                    answer = code.decode(output, range(k), present).get(missing)
                    index = UNKNOWN if answer is None else int(answer.scores.argmax())
                    right[image, missing] = index == images.labels[image]
                    if turn[image] == missing and answer is not None:
                        answers.index[image], answers.confidence[image] = index, answer.confidence
        progress((rotation + 1) / k)
    return JointReport(answers, [float(share) for share in right.mean(0)])


class CodeTimes(NamedTuple):
    """What encoding a group and decoding one of its answers take: medians, microseconds."""

    encode: float
    decode: float


def code_times(model: LoadedModel) -> CodeTimes:
    """Of a parity or a learned code, as serving does it: a full group is encoded, and its first position rebuilt."""
    code, rng = make_code(model.card, model.path.parent), np.random.default_rng(0)
    inputs = [rng.normal(size=code.input_shape).astype(np.float32) for _ in range(code.capacity)]
    rows = rng.dirichlet(np.ones(len(model.card.classes)), code.capacity).astype(np.float32)  # good as logits too
    present = dict(enumerate(rows[1:], start=1))
    return CodeTimes(
        _median(lambda: code.encode(inputs)), _median(lambda: code.decode(rows[0], range(code.capacity), present))
    )


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return round(1e6 * float(np.median(times)), 1)
