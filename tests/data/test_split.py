"""Validation images come from the training images, and never teach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.data import PixelSet, split_validation
from collage.exceptions import DataMissing


def numbered(count: int) -> PixelSet:
    """Images that hold their own number."""
    numbers = np.arange(count)
    pixels = np.repeat(numbers.astype(np.uint8), 4).reshape(count, 2, 2, 1)
    return PixelSet(pixels, numbers.astype(np.int64), ["a", "b"])


@given(st.integers(1, 100).flatmap(lambda n: st.tuples(st.just(n), st.integers(2 * n, 256))), st.integers(0, 9))
def test_the_two_parts_are_disjoint_and_whole(sizes: tuple[int, int], seed: int) -> None:
    count, total = sizes
    training, validation = split_validation(numbered(total), count, seed)
    assert len(validation) == count
    assert sorted([*training.labels, *validation.labels]) == list(range(total))
    for part in (training, validation):
        assert (np.diff(part.labels) > 0).all()
        assert (part.pixels[:, 0, 0, 0] == part.labels).all()


def test_the_split_is_stable_and_drawn_by_its_seed() -> None:
    first, again, other = (split_validation(numbered(200), 20, seed)[1].labels.tolist() for seed in (0, 0, 1))
    assert first == again != other
    # Written down: another split would let validation images of older checkpoints teach.
    assert split_validation(numbered(50), 5, 0)[1].labels.tolist() == [2, 4, 18, 23, 36]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataMissing, match="at least 40 training images; there are 39"):
        split_validation(numbered(39), 20, 0)
