"""With a linear single, a parity of sums is exact: whatever is missing, subtraction gives it back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.codes import ParityCode, concat_layout, make_code
from collage.dispatch import Source
from collage.imaging import Preprocessing
from collage.zoo import ModelCard

CLASSES = 5


def preprocessing(size: int = 4, channels: int = 1) -> Preprocessing:
    return Preprocessing(size=size, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)


def draw(code: ParityCode, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """k images, and the weights of a linear single (pixels, classes)."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=code.input_shape).astype(np.float32) for _ in range(code.capacity)]
    return images, rng.normal(size=(images[0].size, CLASSES)).astype(np.float32) / 4


@given(k=st.integers(2, 6), size=st.integers(1, 6), channels=st.sampled_from([1, 3]), seed=st.integers(0, 999))
def test_every_missing_answer_of_a_linear_single_comes_back(k: int, size: int, channels: int, seed: int) -> None:
    code = ParityCode(k, "sum", preprocessing(size, channels), CLASSES)
    images, weights = draw(code, seed)
    scores = [image.reshape(-1) @ weights for image in images]
    used = np.full((1, *code.input_shape), 99.0, np.float32)  # held another group
    assert code.encode(images, out=used) is used
    output = used.reshape(1, -1) @ weights
    for missing in range(k):
        present = {at: scores[at] for at in range(k) if at != missing}
        answers = code.decode(output, range(k), present)
        assert list(answers) == [missing]
        np.testing.assert_allclose(answers[missing].scores, scores[missing], atol=1e-4)
        shares = np.exp(scores[missing] - scores[missing].max())
        assert answers[missing].confidence == pytest.approx(shares.max() / shares.sum(), abs=1e-4)


@pytest.mark.parametrize("k", [2, 4])
@given(half=st.integers(1, 5), channels=st.sampled_from([1, 3]), seed=st.integers(0, 999))
def test_concat_keeps_each_image_in_its_place_scaled_down(k: int, half: int, channels: int, seed: int) -> None:
    size = 2 * half
    code = ParityCode(k, "concat", preprocessing(size, channels), CLASSES)
    images, _ = draw(code, seed)
    parity = code.encode(images)[0]
    rows, columns = concat_layout(k, size)
    h, w = size // rows, size // columns
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        place = parity[:, row * h : (row + 1) * h, column * w : (column + 1) * w]
        for y in range(h):
            for x in range(w):
                block = image[:, y * rows : (y + 1) * rows, x * columns : (x + 1) * columns]
                np.testing.assert_allclose(place[:, y, x], block.mean(axis=(1, 2)), atol=1e-5)


@given(k=st.integers(2, 6), data=st.data())
def test_one_missing_of_a_full_group_and_nothing_else_is_recoverable(k: int, data: st.DataObject) -> None:
    code = ParityCode(k, "sum", preprocessing(), CLASSES)
    positions = st.sets(st.integers(0, k - 1))
    filled = frozenset(data.draw(positions))
    present = frozenset(data.draw(positions)) & filled
    found = code.recoverable(filled, present)
    assert found == (filled - present if len(filled) == k and len(present) == k - 1 else frozenset())
    scores = dict.fromkeys(present, np.zeros(CLASSES, np.float32))
    assert code.decode(np.ones((1, CLASSES), np.float32), sorted(filled), scores).keys() == found


@given(seed=st.integers(0, 999), missing=st.integers(0, 2))
def test_probabilities_are_coded_by_their_logarithms(seed: int, missing: int) -> None:
    code = ParityCode(3, "sum", preprocessing(), CLASSES, output="probabilities")
    shares = np.random.default_rng(seed).dirichlet(np.ones(CLASSES), 3).astype(np.float32)
    output = np.log(np.maximum(shares, 1e-8)).sum(0, keepdims=True)
    answer = code.decode(output, range(3), {at: shares[at] for at in range(3) if at != missing})[missing]
    np.testing.assert_allclose(answer.scores, shares[missing], atol=1e-4)
    assert answer.scores.sum() == pytest.approx(1.0, abs=1e-5)
    assert answer.confidence == pytest.approx(shares[missing].max(), abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_garbage_from_the_parity_or_a_single_is_unknown(value: float) -> None:
    code = ParityCode(2, "sum", preprocessing(), CLASSES)
    bad = np.zeros((1, CLASSES), np.float32)
    bad[0, 2] = value
    assert code.decode(bad, [0, 1], {0: np.zeros(CLASSES, np.float32)}) == {}
    assert code.decode(np.zeros((1, CLASSES), np.float32), [0, 1], {1: bad[0]}) == {}


def test_what_does_not_fit_is_refused() -> None:
    code = ParityCode(2, "sum", preprocessing(), CLASSES)
    image = np.zeros(code.input_shape, np.float32)
    for inputs in ([image], [image] * 3):
        with pytest.raises(ValueError, match="needs exactly 2"):
            code.encode(inputs)
    with pytest.raises(ValueError, match="input 1 has shape None"):
        code.encode([image, None])
    with pytest.raises(ValueError, match=r"input 0 has shape \(1, 4, 5\)"):
        code.encode([np.zeros((1, 4, 5), np.float32), image])
    for out in (np.zeros((1, 1, 4, 5), np.float32), np.zeros((1, 1, 4, 4), np.float64)):
        with pytest.raises(ValueError, match="out is"):
            code.encode([image, image], out=out)
    for shape in ((CLASSES + 1,), (2, CLASSES), (1, 1, CLASSES), ()):
        with pytest.raises(ValueError, match="output has shape"):
            code.decode(np.zeros(shape, np.float32), [0, 1], {})
    with pytest.raises(ValueError, match="position 2 is none"):
        code.decode(np.zeros((1, CLASSES), np.float32), [0, 2], {})
    for k, size, message in ((3, 4, "concat takes 2 or 4 images, not 3"), (2, 5, "5 pixels a side is odd")):
        with pytest.raises(ValueError, match=message):
            ParityCode(k, "concat", preprocessing(size), CLASSES)
    with pytest.raises(ValueError, match="k must be at least 2"):
        ParityCode(1, "sum", preprocessing(), CLASSES)


def test_a_card_gives_the_code() -> None:
    facts = {
        "name": "p", "role": "parity", "file": "p.onnx", "sha256": "0" * 64, "single_sha256": "1" * 64,
        "preprocessing": preprocessing(), "classes": list("abcde"),
    }  # fmt: skip
    card = ModelCard.model_validate(facts | {"k": 4, "encoder": "concat"})
    code = make_code(card)
    assert isinstance(code, ParityCode)
    assert (code.source, code.capacity, code.encoder, card.capacity) == (Source.PARITY, 4, "concat", 4)
    for lacking in ({}, {"k": 2}, {"encoder": "sum"}):
        with pytest.raises(ValueError, match=r"every parity needs one|each of them needs it"):
            ModelCard.model_validate(facts | lacking)
