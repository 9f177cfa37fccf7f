"""Every tile lands where decode looks for it, whatever the grid, the tile size and the fill; blanks never answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collage.codes import CheapCode, Code, CollageCode, ReplicaCode
from collage.dispatch import Source
from collage.imaging import Preprocessing

CLASSES = 7
grids = st.integers(2, 5)
sizes = st.integers(1, 9)
channels = st.sampled_from([1, 3])


def preprocessing(size: int = 4, channels: int = 1) -> Preprocessing:
    return Preprocessing(size=size, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)


def tile_of(code: Code, label: int) -> np.ndarray:
    """A tile that says its class by its brightness; blank is 0, so classes begin at 1."""
    return np.full(code.input_shape, label + 1, np.float32)


def toy_collage_cnn(canvas: np.ndarray, grid: int) -> np.ndarray:
    """A collage-cnn that reads each tile's mean brightness: (1, C, g*s, g*s) -> logits (1, N, CLASSES + 1)."""
    size = canvas.shape[2] // grid
    means = canvas[0].mean(axis=0).reshape(grid, size, grid, size).mean(axis=(1, 3)).reshape(-1)
    logits = np.zeros((1, grid * grid, CLASSES + 1), np.float32)
    for tile, mean in enumerate(means):
        logits[0, tile, round(mean) - 1] = 8.0  # mean 0: index -1, "unknown"
    return logits


@given(data=st.data(), grid=grids, size=sizes, channels=channels)
def test_every_tile_answers_with_its_own_class_and_a_blank_never_does(
    data: st.DataObject, grid: int, size: int, channels: int
) -> None:
    code = CollageCode(grid, preprocessing(size, channels), CLASSES, unknown=True)
    assert code.capacity == grid * grid
    labels = data.draw(st.lists(st.none() | st.integers(0, CLASSES - 1), max_size=code.capacity))
    inputs = [None if label is None else tile_of(code, label) for label in labels]
    used = np.full((1, channels, grid * size, grid * size), 99.0, np.float32)  # a canvas that held another group
    assert code.encode(inputs, out=used) is used
    assert np.array_equal(used, code.encode(inputs))
    answers = code.decode(toy_collage_cnn(used, grid), range(code.capacity), {})
    assert {tile: int(answer.scores.argmax()) for tile, answer in answers.items()} == {
        tile: label for tile, label in enumerate(labels) if label is not None
    }


@given(grid=grids, fill=st.data())
def test_partial_groups_of_every_size(grid: int, fill: st.DataObject) -> None:
    code = CollageCode(grid, preprocessing(), CLASSES, unknown=True)
    count = fill.draw(st.integers(0, code.capacity))
    output = toy_collage_cnn(code.encode([tile_of(code, i % CLASSES) for i in range(count)]), grid)
    assert sorted(code.decode(output, range(count), {})) == list(range(count))
    assert code.recoverable(frozenset(range(count)), frozenset({0})) == frozenset(range(count))


def test_only_what_is_filled_answers_even_where_the_model_sees_something() -> None:
    code = CollageCode(2, preprocessing(), 3)
    assert sorted(code.decode(np.ones((4, 3), np.float32), [3, 1], {})) == [1, 3]


@given(logits=st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4))
def test_logits_keep_the_singles_form_and_confidence_counts_unknown(logits: list[float]) -> None:
    highest, next_best = sorted(logits)[:-3:-1]
    assume(highest - next_best > 1e-4)  # closer ones may be equal probabilities
    code = CollageCode(2, preprocessing(), 3, unknown=True)
    output = np.tile(np.array(logits, np.float32), (1, 4, 1))
    answers = code.decode(output, [2], {})
    probabilities = np.exp(np.array(logits) - max(logits))
    probabilities /= probabilities.sum()
    if int(np.argmax(np.array(logits, np.float32))) == 3:
        assert answers == {}
    else:
        assert answers[2].scores.tolist() == output[0, 2, :3].tolist()
        assert answers[2].scores.dtype == np.float32
        assert answers[2].confidence == pytest.approx(probabilities.max(), abs=1e-5)


def test_probabilities_leave_unknown_out_and_sum_to_one() -> None:
    code = CollageCode(2, preprocessing(), 3, unknown=True, output="probabilities")
    output = np.array([[0.5, 0.2, 0.1, 0.2], [0.1, 0.1, 0.1, 0.7], [0, 0, 0, 0], [1, 0, 0, 0]], np.float32)
    answers = code.decode(output, range(4), {})
    assert sorted(answers) == [0, 3]
    np.testing.assert_allclose(answers[0].scores, [0.625, 0.25, 0.125], atol=1e-6)
    assert answers[0].confidence == pytest.approx(0.5)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_makes_its_own_tile_unknown_and_no_other(output: str, value: float) -> None:
    code = CollageCode(2, preprocessing(), 3, output=output)
    rows = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (4, 1))
    rows[1, 2] = value
    assert sorted(code.decode(rows, range(4), {})) == [0, 2, 3]


@pytest.mark.parametrize("row", [[-0.5, 0.7, 0.8], [5.0, 0.0, 0.0]])
def test_what_is_no_probability_is_unknown(row: list[float]) -> None:
    code = CheapCode(preprocessing(), 3, output="probabilities")
    assert code.decode(np.array([row], np.float32), [0], {}) == {}


@pytest.mark.parametrize(("make", "source"), [(ReplicaCode, Source.REPLICA), (CheapCode, Source.CHEAP)])
def test_replica_and_cheap_carry_one_image_unchanged(make: type[ReplicaCode], source: Source) -> None:
    code = make(preprocessing(6, 3), CLASSES)
    assert (code.source, code.capacity, code.input_shape) == (source, 1, (3, 6, 6))
    image = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    assert np.array_equal(code.encode([image]), image[None])
    logits = np.arange(CLASSES, dtype=np.float32)
    answer = code.decode(logits[None], [0], {})[0]
    assert answer.scores.tolist() == logits.tolist()
    assert 0.5 < answer.confidence < 1


def test_what_does_not_fit_is_refused() -> None:
    code = CollageCode(2, preprocessing(), 3)
    tile = tile_of(code, 0)
    for grid in (1, 6):
        with pytest.raises(ValueError, match="grid must be from 2 to 5"):
            CollageCode(grid, preprocessing(), 3)
    with pytest.raises(ValueError, match="at most 4"):
        code.encode([tile] * 5)
    with pytest.raises(ValueError, match=r"input 1 has shape \(1, 4, 5\)"):
        code.encode([tile, np.zeros((1, 4, 5), np.float32)])
    for out in (np.zeros((1, 1, 8, 9), np.float32), np.zeros((1, 1, 8, 8), np.float64)):
        with pytest.raises(ValueError, match="out is"):
            code.encode([tile], out=out)
    for shape in ((4, 4), (1, 3, 3), (2, 4, 3), (12,), (1, 1, 4, 3)):
        with pytest.raises(ValueError, match="output has shape"):
            code.decode(np.zeros(shape, np.float32), [0], {})
    for position in (-1, 4):
        with pytest.raises(ValueError, match="is no tile"):
            code.decode(np.zeros((4, 3), np.float32), [position], {})
    with pytest.raises(ValueError, match="classes"):
        CollageCode(2, preprocessing(), 1)


@given(rows=st.lists(st.floats(0.01, 1), min_size=3, max_size=3), temperature=st.floats(0.2, 5))
def test_a_temperature_changes_confidence_as_a_power_of_the_probabilities(
    rows: list[float], temperature: float
) -> None:
    chances = np.array(rows) / sum(rows)
    powers = chances ** (1 / temperature)
    expected = powers.max() / powers.sum()
    logits = CheapCode(preprocessing(), 3, temperature=temperature)
    probabilities = CheapCode(preprocessing(), 3, output="probabilities", temperature=temperature)
    for code, columns in ((logits, np.log(chances) + 2), (probabilities, chances)):
        output = columns.astype(np.float32)[None]
        answer = code.decode(output, [0], {})[0]
        assert answer.confidence == pytest.approx(expected, rel=1e-4)
        assert answer.scores.tolist() == output[0].tolist()
