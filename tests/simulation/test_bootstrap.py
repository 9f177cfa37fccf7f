"""Differences in accuracy: exact values, and intervals that are as wide as what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Source
from collage.simulation import LatencyHistogram, PointResult, accuracy_difference, merge_points


def point(gained: Mapping[int, int], answers: int = 10_000, images: int = 1000) -> PointResult:
    """Answers to queries of so many images, and on which of them they were more or less often right than the single."""
    sums: dict[str, Any] = dict.fromkeys(
        ("single_seconds", "extra_seconds", "busy_seconds", "fleet_seconds", "joules"), 1.0
    )
    return PointResult(
        queries=answers, latencies=LatencyHistogram(0, (answers,), 1.0, 1.0), rounds=LatencyHistogram(),
        answered={Source.SINGLE: answers}, refused={}, right_given=9000 + sum(gained.values()), right_single=9000,
        images=images, gained=gained, backups_sent=0, tiles_sent=0, **sums,
    )  # fmt: skip


def test_the_difference_is_that_of_the_accuracies() -> None:
    one, other = point({1: 3, 2: -1}), point({1: 3, 7: -8})
    assert accuracy_difference(one).value == pytest.approx(one.a_o - one.a_a) == pytest.approx(0.0002)
    assert accuracy_difference(one, other).value == pytest.approx(one.a_o - other.a_o)
    same = accuracy_difference(one, replace(one))
    assert same == (0, 0, 0)  # what both have alike says nothing of their difference
    assert accuracy_difference(point({}), point({})) == (0, 0, 0)
    assert accuracy_difference(point({}, images=0)) == (0, 0, 0)


def test_the_interval_is_that_of_a_plain_bootstrap_over_images() -> None:
    rng = np.random.default_rng(5)
    net = rng.choice([-2, -1, 0, 0, 0, 0, 1], size=400)
    found = accuracy_difference(point({i: int(n) for i, n in enumerate(net) if n}, answers=4000, images=400))
    plain = [net[rng.integers(400, size=400)].sum() / 4000 for _ in range(4000)]
    assert found.low == pytest.approx(np.quantile(plain, 0.025), abs=0.001)
    assert found.high == pytest.approx(np.quantile(plain, 0.975), abs=0.001)
    assert found.low < found.value < found.high


def test_ten_queries_of_one_image_are_one_piece_of_evidence() -> None:
    apart = accuracy_difference(point(dict.fromkeys(range(100), -1)))
    together = accuracy_difference(point(dict.fromkeys(range(10), -10)))
    assert apart.value == pytest.approx(together.value)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_points_of_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not of the same images"):
        accuracy_difference(point({}), point({}, images=7))
    with pytest.raises(ValueError, match="not of the same images"):
        accuracy_difference(point({}, images=0), point({}, images=0))


def test_seeds_add_up_by_image() -> None:
    merged = merge_points([point({1: 1, 2: -1}), point({1: 1, 2: 1, 3: -2})])
    assert (merged.gained, merged.images) == ({1: 2, 3: -2}, 1000)
    assert accuracy_difference(merged).value == pytest.approx(merged.a_o - merged.a_a, abs=1e-12)
