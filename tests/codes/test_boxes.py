"""Boxes become answers: each for the tile it covers most, the surest of a tile counts, garbage counts for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from collage.codes import BoxesCode, CollageCode, make_code
from collage.imaging import Preprocessing
from collage.zoo import ModelCard

CLASSES = 4
PREPROCESSING = Preprocessing(size=4, channels=1, mean=(0.5,), std=(0.5,))


def box(
    tile: int, label: int, grid: int, *, sure: float = 5.0, shift: float = 0.0, side: float = 1.0, margin: float = 6.0
) -> list[float]:
    """A box over a tile, moved right by `shift` tiles, with a side of `side` tiles; `margin`: its class's logit."""
    row, column = divmod(tile, grid)
    classes = [margin if index == label else 0.0 for index in range(CLASSES)]
    return [(column + 0.5 + shift) / grid, (row + 0.5) / grid, side / grid, side / grid, sure, *classes]


def decode(grid: int, boxes: list[list[float]], filled: list[int] | None = None) -> dict[int, int]:
    code = BoxesCode(grid, PREPROCESSING, CLASSES)
    output = np.array(boxes, np.float32).reshape(-1, 5 + CLASSES)
    answers = code.decode(output, range(code.capacity) if filled is None else filled, {})
    assert answers.keys() == code.decode(output[None], list(answers), {}).keys()
    for answer in answers.values():
        assert answer.scores.shape == (CLASSES,)
        assert 0 < answer.confidence <= 1
    return {tile: int(answer.scores.argmax()) for tile, answer in answers.items()}


@st.composite
def collages(draw: st.DrawFn) -> tuple[int, dict[int, int], int]:
    grid = draw(st.integers(2, 5))
    labels = draw(st.dictionaries(st.integers(0, grid * grid - 1), st.integers(0, CLASSES - 1)))
    return grid, labels, draw(st.integers(0, 2**16))


@given(collage=collages(), shift=st.floats(-0.4, 0.4), side=st.floats(0.3, 1.5))
def test_every_box_goes_to_its_tile_in_any_order(
    collage: tuple[int, dict[int, int], int], shift: float, side: float
) -> None:
    grid, labels, seed = collage
    boxes = [box(tile, label, grid, shift=shift, side=side) for tile, label in labels.items()]
    boxes += [box(tile, label, grid, sure=-5.0) for tile, label in enumerate([1, 2, 3])]  # below the threshold
    np.random.default_rng(seed).shuffle(boxes)
    if side + 2 * abs(shift) <= 1.5:  # otherwise a box may lie more on the tile beside
        assert decode(grid, boxes) == labels
    assert decode(grid, boxes).keys() <= set(range(grid * grid))


def test_tiles_without_a_box_and_blank_tiles_are_unknown() -> None:
    boxes = [box(0, 2, 3), box(8, 1, 3)]
    assert decode(3, boxes) == {0: 2, 8: 1}
    assert decode(3, boxes, filled=[8, 3]) == {8: 1}
    assert decode(3, []) == {}
    assert decode(3, [box(4, 1, 3, sure=-0.9)]) == {}  # objectness 0.29
    assert decode(3, [box(4, 1, 3, sure=-0.8)]) == {4: 1}  # 0.31


def test_the_surest_box_of_a_tile_counts() -> None:
    assert decode(2, [box(1, 3, 2, sure=1.0), box(1, 2, 2, sure=4.0), box(1, 0, 2, sure=2.0)]) == {1: 2}
    assert decode(2, [box(1, 3, 2, margin=9.0), box(1, 2, 2, margin=1.0)]) == {1: 3}
    code = BoxesCode(2, PREPROCESSING, CLASSES)
    (answer,) = code.decode(np.array([box(1, 3, 2)], np.float32), [1], {}).values()
    chance = 1 / (1 + (CLASSES - 1) * math.exp(-6.0))
    assert answer.confidence == pytest.approx(chance / (1 + math.exp(-5.0)), abs=1e-6)


def test_overlapping_boxes_of_one_class_are_one() -> None:
    # Without suppression the second box, as sure and two fifths of a tile further, would be the neighbour's answer.
    near = box(0, 1, 2, sure=3.0, shift=0.6)
    assert decode(2, [near]) == {1: 1}
    assert decode(2, [near, box(0, 1, 2, shift=0.3)]) == {0: 1}  # intersection over union 0.54
    assert decode(2, [near, box(0, 1, 2, shift=0.1)]) == {0: 1, 1: 1}  # 0.33: two things
    assert decode(2, [near, box(0, 3, 2, shift=0.3)]) == {0: 3, 1: 1}  # another class


@given(
    rows=st.lists(
        st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=5 + CLASSES, max_size=5 + CLASSES),
        max_size=6,
    )
)
def test_garbage_is_no_answer_and_harms_no_other(rows: list[list[float]]) -> None:
    tiles = decode(3, rows)
    assert set(tiles) <= set(range(9))
    broken = [[*row[:4], float("nan"), *row[5:]] for row in rows]
    assert decode(3, [*broken, box(5, 1, 3)]) == {5: 1}


@pytest.mark.parametrize("place", range(5 + CLASSES))
def test_a_box_that_is_not_finite_or_off_the_canvas_is_none(place: int) -> None:
    for value in (float("nan"), float("inf"), -float("inf")):
        row = box(4, 2, 3)
        row[place] = value
        assert decode(3, [row, box(2, 1, 3)]) == {2: 1}
    assert decode(3, [box(4, 2, 3, shift=7.0), box(4, 2, 3, side=-1.0), box(4, 2, 3, side=0.0)]) == {}


def test_what_does_not_fit_is_refused() -> None:
    code = BoxesCode(3, PREPROCESSING, CLASSES)
    for shape in ((9, CLASSES + 1), (2, 9, 5 + CLASSES), (5 + CLASSES,), (1, 1, 9, 5 + CLASSES)):
        with pytest.raises(ValueError, match=r"\(1, boxes, 9\) is needed"):
            code.decode(np.zeros(shape, np.float32), [0], {})
    with pytest.raises(ValueError, match="position 9 is no tile"):
        code.decode(np.zeros((1, 5 + CLASSES), np.float32), [9], {})


def test_a_card_gives_the_code_and_canvases_are_a_collages() -> None:
    facts = {
        "name": "y", "role": "collage", "file": "y.onnx", "sha256": "0" * 64, "single_sha256": "1" * 64, "grid": 3,
        "preprocessing": PREPROCESSING.model_dump(), "classes": list("abcd"), "head": "boxes",
    }  # fmt: skip
    card = ModelCard.model_validate(facts)
    code = make_code(card)
    assert isinstance(code, BoxesCode)
    assert card.code == "collage-yolo"
    inputs: list[NDArray[np.float32] | None] = [np.full((1, 4, 4), 2, np.float32), None]
    assert np.array_equal(code.encode(inputs), CollageCode(3, PREPROCESSING, CLASSES).encode(inputs))
    with pytest.raises(ValueError, match="said of collages only"):
        ModelCard.model_validate(facts | {"role": "cheap", "grid": None})
