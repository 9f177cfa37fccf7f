"""How sure a difference in accuracy is: a paired bootstrap over images (Efron and Tibshirani, 1993, chapters 8 and 13).

Two policies meet the same queries, and a query shows one of the evaluation's images. What is resampled are the images,
each with all the queries that showed it: a model is right about an image or it is not, so ten queries of one image are
no ten pieces of evidence. All that matters of an image is by how many right answers the two differ on it; so a
resample of the images is one multinomial draw of how often each such difference comes, and ten thousand are quick.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from collage.simulation._result import PointResult

_RESAMPLES = 10_000
_LEVEL = 0.95


class Difference(NamedTuple):
    """A difference of two accuracies, as a fraction, and its 95% interval."""

    value: float
    low: float
    high: float


def accuracy_difference(point: PointResult, other: PointResult | None = None) -> Difference:
    """A_o of a point less another's on the same queries; without another, less A_a, its single's on the same queries.

    A query that got no answer counts as one that its single would have answered: where none is rejected, this is the
    plain difference of the two accuracies. Percentile interval; the same points give the same. Raises ValueError for
    points that were not of the same images, or whose outcomes are not known.
    """
    if other is not None and (point.images != other.images or not point.images):
        raise ValueError("points: these are not of the same images")
    if not point.answers:
        return Difference(0.0, 0.0, 0.0)
    by_image = {image: net / point.answers for image, net in point.gained.items()}
    if other is not None and other.answers:
        for image, net in other.gained.items():
            by_image[image] = by_image.get(image, 0.0) - net / other.answers
    kinds = Counter(by_image.values())
    kinds[0.0] += point.images - len(by_image)
    values = np.array(list(kinds), np.float64)  # (k,)
    counts = np.array(list(kinds.values()), np.float64)
    value = float(values @ counts)
    if not point.images:
        return Difference(value, value, value)
    drawn = np.random.default_rng(0).multinomial(point.images, counts / point.images, _RESAMPLES)  # (resamples, k)
    low, high = np.quantile(drawn @ values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(value, float(low), float(high))
