"""A learned code asks its decoder with the missing one zero, and gives back that position's row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.codes import LearnedCode
from collage.dispatch import Role, Source
from collage.imaging import Preprocessing

CLASSES, PRE = 4, Preprocessing(size=3, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)


def make(k: int, output: str = "logits") -> LearnedCode:
    """Encodes by a sum and decodes by subtraction: exact for a linear single, as a good learned code would be."""

    def encode(groups: np.ndarray) -> np.ndarray:
        assert groups.shape == (1, k * 3, 3, 3)
        return groups.reshape(1, k, 3, 3, 3).sum(1)

    def decode(outputs: np.ndarray) -> np.ndarray:
        assert outputs.shape == (1, (k + 1) * CLASSES)
        rows = outputs.reshape(k + 1, CLASSES)
        missing = [position for position in range(k) if not rows[position].any()]
        assert len(missing) == 1
        answers = np.full((1, k, CLASSES), np.nan, np.float32)
        answers[0, missing[0]] = rows[k] - rows[:k].sum(0)
        return answers

    return LearnedCode(k, encode, decode, PRE, CLASSES, output=output)  # type: ignore[arg-type]


@given(k=st.integers(2, 5), seed=st.integers(0, 999))
def test_what_is_missing_is_read_from_all_others_and_the_groups_image(k: int, seed: int) -> None:
    code, rng = make(k), np.random.default_rng(seed)
    images = [rng.normal(size=code.input_shape).astype(np.float32) for _ in range(k)]
    weights = rng.normal(size=(27, CLASSES)).astype(np.float32)
    scores = [image.reshape(-1) @ weights for image in images]
    output = code.encode(images).reshape(1, -1) @ weights
    for missing in range(k):
        answers = code.decode(output, range(k), {at: scores[at] for at in range(k) if at != missing})
        assert list(answers) == [missing]
        np.testing.assert_allclose(answers[missing].scores, scores[missing], atol=1e-3)
    assert code.decode(output, range(k), dict(enumerate(scores[: k - 2]))) == {}


def test_its_jobs_are_a_role_of_their_own_and_need_the_others() -> None:
    code = make(2)
    assert (code.source, code.source.role, code.capacity) == (Source.LEARNED, Role.LEARNED, 2)
    assert code.source.joint
    assert code.source.degraded
    assert not any(source.joint for source in Source if source not in (Source.PARITY, Source.LEARNED))


def test_probabilities_come_back_as_probabilities() -> None:
    code = make(2, "probabilities")
    shares = np.array([0.7, 0.1, 0.1, 0.1], np.float32)
    group = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    answer = code.decode(group[None], [0, 1], {1: shares})[0]
    expected = group / shares / (group / shares).sum()
    np.testing.assert_allclose(answer.scores, expected, atol=1e-5)


def test_garbage_is_unknown_and_a_part_of_a_group_cannot_be_encoded() -> None:
    code = make(2)
    row = np.ones(CLASSES, np.float32)
    assert code.decode(np.full((1, CLASSES), np.nan, np.float32), [0, 1], {0: row}) == {}
    with pytest.raises(ValueError, match="needs exactly 2"):
        code.encode([np.zeros(code.input_shape, np.float32)])
