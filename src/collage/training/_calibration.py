"""What confidence is worth: calibration error, the temperature that mends it, and from where on it can be relied on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

BINS = 15
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_WITHIN = 0.001  # a tenth of a point of accuracy
_FEWEST = 100  # answers, for a share of them to mean anything


class Reliability(NamedTuple):
    """By bin of confidence, each (bins,): mean confidence, accuracy (both 0 where empty), answers."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    answers: NDArray[np.int64]


class Reliance(NamedTuple):
    """What answers are worth whose confidence is at least `threshold`; accuracies are None where there are none."""

    threshold: float
    coverage: float  # their share of all
    accuracy: float | None
    single_accuracy: float | None  # the single's, for the same images


def reliability(confidence: Floats, right: Bools, bins: int = BINS) -> Reliability:
    """Answers (n,) by confidence, 0..1: bin b holds those in (b / bins, (b + 1) / bins]."""
    index = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    total = np.maximum(count, 1)
    return Reliability(
        np.bincount(index, confidence, bins) / total, np.bincount(index, right.astype(float), bins) / total, count
    )


def calibration_error(confidence: Floats, right: Bools, bins: int = BINS) -> float:
    """Expected calibration error of n answers, 0..1; 0 where there is none.

    Top-1 confidence, bins of equal width: the distance between a bin's mean confidence and its accuracy, weighted by
    its share of the answers (Guo et al., "On calibration of modern neural networks", arXiv 1706.04599).
    """
    by_bin = reliability(confidence, right, bins)
    return float((by_bin.answers * np.abs(by_bin.confidence - by_bin.accuracy)).sum() / max(1, len(confidence)))


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature in 0.05..20 at which logits (n, K) give labels (n,) the least negative log-likelihood.

    Guo et al., arXiv 1706.04599. That loss is convex in 1 / temperature, so its slope is bisected.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(1, keepdims=True)
    of_labels = float(logits[np.arange(len(labels)), labels].mean())

    def slope(inverse: float) -> float:
        weights = np.exp(logits * inverse)  # (n, K)
        expected = (weights * logits).sum(1) / weights.sum(1)  # (n,)
        return float(expected.mean()) - of_labels

    low, high = 1 / 20, 20.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / (low * high) ** 0.5)


def reliances(confidence: Floats, right: Bools, single_right: Bools) -> list[Reliance]:
    """Coverage and accuracy of n answers at each of THRESHOLDS, beside the single's answers for the same images."""
    found = []
    for threshold in THRESHOLDS:
        taken = confidence >= threshold
        accuracies = (float(right[taken].mean()), float(single_right[taken].mean())) if taken.any() else (None, None)
        found.append(Reliance(threshold, float(taken.mean()), *accuracies))
    return found


def confident_from(confidence: Floats, right: Bools, single_right: Bools) -> float:
    """The least threshold, in hundredths, from which on a backup's answers are as good as the single's; 1 for none.

    As good: at this threshold and each above it that 100 answers or more reach, as often right as the single's answers
    for the same images, within 0.1 point. The same images, because confident ones are easy for the single too.
    """
    found = 1.0
    for hundredths in range(99, -1, -1):
        taken = confidence >= hundredths / 100
        if taken.sum() < _FEWEST:
            continue
        if float(right[taken].mean()) < float(single_right[taken].mean()) - _WITHIN:
            break
        found = hundredths / 100
    return found
