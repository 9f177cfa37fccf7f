"""A batch: rows of images in, rows of columns out, as many as there are images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.codes import BatchCode, make_code
from collage.dispatch import Role, Source
from collage.imaging import Preprocessing
from collage.zoo import ModelCard

CLASSES = 5
PREPROCESSING = Preprocessing(size=4, channels=1, mean=(0.5,), std=(0.5,))


def code_of(k: int, *, unknown: bool = True) -> BatchCode:
    return BatchCode(k, PREPROCESSING, CLASSES, unknown=unknown)


def image_of(code: BatchCode, label: int) -> np.ndarray:
    return np.full(code.input_shape, label + 1, np.float32)


def toy_net(batch: np.ndarray) -> np.ndarray:
    """(n, C, H, W) -> logits (n, classes + 1): an image's grey is its label + 1; 0 is nothing to see."""
    greys = batch.mean(axis=(1, 2, 3)).round().astype(int)
    return np.eye(CLASSES + 1, dtype=np.float32)[np.where(greys == 0, CLASSES, greys - 1)] * 9


@given(labels=st.lists(st.none() | st.integers(0, CLASSES - 1), max_size=6), k=st.integers(2, 6))
def test_every_image_gets_its_own_answer(labels: list[int | None], k: int) -> None:
    code = code_of(k)
    labels = labels[:k]
    batch = code.encode([None if label is None else image_of(code, label) for label in labels])
    assert batch.shape == (max(1, len(labels)), *code.input_shape)  # a group that is not full costs less
    assert np.array_equal(code.encode([None if x is None else image_of(code, x) for x in labels], out=batch), batch)
    answers = code.decode(toy_net(batch), range(len(labels)), {})
    assert {position: int(answer.scores.argmax()) for position, answer in answers.items()} == {
        position: label for position, label in enumerate(labels) if label is not None
    }
    assert all(answer.scores.shape == (CLASSES,) for answer in answers.values())
    filled = frozenset(range(len(labels)))
    assert code.recoverable(filled, frozenset()) == filled


def test_what_is_not_finite_costs_its_own_image_only() -> None:
    code = code_of(3)
    rows = toy_net(code.encode([image_of(code, label) for label in (2, 0, 1)]))
    rows[1, 3] = np.nan
    assert sorted(code.decode(rows, [0, 1, 2], {})) == [0, 2]


@pytest.mark.parametrize("shape", [(1, CLASSES + 1), (4, CLASSES + 1), (2, CLASSES), (1, 2, 3, CLASSES + 1), (12,)])
def test_an_output_without_a_row_for_each_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"output has shape .*\(2 to 3, 6\) is needed"):
        code_of(3).decode(np.zeros(shape, np.float32), [0, 1], {})


def test_what_does_not_fit_is_refused() -> None:
    code = code_of(3)
    image = image_of(code, 0)
    with pytest.raises(ValueError, match="at most 3"):
        code.encode([image] * 4)
    with pytest.raises(ValueError, match=r"input 1 has shape \(1, 4, 5\)"):
        code.encode([image, np.zeros((1, 4, 5), np.float32)])
    with pytest.raises(ValueError, match="out is"):
        code.encode([image], out=np.zeros((3, 1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="position 3 is no tile"):
        code.decode(np.zeros((3, CLASSES + 1), np.float32), [3], {})
    with pytest.raises(ValueError, match="k must be at least 2"):
        code_of(1)


def test_a_card_gives_the_code() -> None:
    facts = {
        "name": "b", "role": "batch", "file": "b.onnx", "sha256": "0" * 64, "single_sha256": "1" * 64, "k": 9,
        "preprocessing": PREPROCESSING.model_dump(), "classes": list("abcde"), "unknown": True,
    }  # fmt: skip
    card = ModelCard.model_validate(facts)
    code = make_code(card)
    assert isinstance(code, BatchCode)
    assert (code.source, code.capacity, card.capacity, card.code) == (Source.BATCH, 9, 9, "batch")
    assert Source.BATCH.degraded
    assert Source.BATCH.role is Role.BATCH
    for wrong in ({"k": None}, {"grid": 3}, {"encoder": "sum"}):
        with pytest.raises(ValueError, match="belong"):
            ModelCard.model_validate(facts | wrong)
