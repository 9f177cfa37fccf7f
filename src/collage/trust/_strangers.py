"""Images of no class that the model knows: does its confidence tell them from its own?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from collage.data import PixelSet
from collage.training import UNKNOWN
from collage.trust._ask import Asker, Told


class StrangerRow(TypedDict):
    """Test images beside another dataset's, through the model's own preprocessing."""

    strangers: str
    images: int  # of each
    auroc: float  # chance that an image of a known class gets more confidence than a stranger
    unknown: float  # share of strangers without a class
    confidence: float  # their mean; 0 where unknown
    own_confidence: float


def measure_strangers(asker: Asker, images: PixelSet, strangers: PixelSet, name: str, told: Told) -> StrangerRow:
    """In a collage, known images and strangers are mixed at random, as many of one as of the other."""
    rng = np.random.default_rng(4)
    count = min(len(images), len(strangers))
    pool = [images.pixels[i] for i in rng.permutation(len(images))[:count]]
    pool += [strangers.pixels[i] for i in rng.permutation(len(strangers))[:count]]
    groups = np.resize(rng.permutation(2 * count), (-(-2 * count // asker.tiles), asker.tiles))
    answers = asker.answers([[pool[i] for i in group] for group in groups], told)
    index, confidence = np.empty(2 * count, np.int64), np.empty(2 * count)
    index[groups], confidence[groups] = answers.index, answers.confidence
    return {
        "strangers": name,
        "images": count,
        "auroc": auroc(confidence[:count], confidence[count:]),
        "unknown": float((index[count:] == UNKNOWN).mean()),
        "confidence": float(confidence[count:].mean()),
        "own_confidence": float(confidence[:count].mean()),
    }


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Area under the ROC curve: the chance that one of `positive` (p,) exceeds one of `negative` (n,), a tie half."""
    if not len(positive) or not len(negative):
        raise ValueError("auroc needs values of both kinds")
    _, place, count = np.unique(np.concatenate([positive, negative]), return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1; equal values share their mean rank
    above = rank[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))
