"""How training images are changed at random: turned, moved, distorted, mixed with others, erased in part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.training._settings import AugmentSettings  # noqa: E402
from collage.training._single import to_planes  # noqa: E402
from collage.training._views import (  # noqa: E402
    Looks,
    Mixtures,
    Views,
    apply_views,
    draw_squares,
    draw_views,
    erase_squares,
    normalise_batch,
    show,
)

from .colours import PREPROCESSING, colours, seeded  # noqa: E402

pytestmark = pytest.mark.train


def still(count: int, looks: Looks | None = None) -> Views:
    none = torch.zeros(count, dtype=torch.int64)
    return Views(none.bool(), none, none, looks=looks)


def test_views_flip_and_shift_with_repeated_edges() -> None:
    images, augment = colours(3), AugmentSettings(shift=2)
    views = Views(torch.tensor([False, True, False]), torch.tensor([2, 2, 0]), torch.tensor([2, 2, 3]))
    same, flipped, shifted = apply_views(to_planes(images), views, augment.shift, PREPROCESSING)
    plain = normalise_batch(to_planes(images), PREPROCESSING)
    assert torch.equal(same, plain[0])
    assert torch.equal(flipped, plain[1].flip(-1))
    assert torch.equal(shifted[:, 2:, :-1], plain[2][:, :-2, 1:])  # two down, one left
    assert torch.equal(shifted[:, 0, :-1], plain[2][:, 0, 1:])


def test_views_reach_everywhere_and_only_as_far_as_asked() -> None:
    views = draw_views(500, 500, AugmentSettings(shift=1), seeded())
    assert set(views.dy.tolist()) == set(views.dx.tolist()) == {0, 1, 2}
    assert 0.4 < views.flip.float().mean() < 0.6
    assert not draw_views(500, 500, AugmentSettings(flip=False), seeded()).flip.any()


def test_an_erased_square_is_the_mean_pixel() -> None:
    images = erase_squares(torch.ones(200, 3, 12, 12), 4, draw_squares(200, 12, 4, seeded()))
    erased = (images == 0).flatten(1).sum(1) // 3
    assert set(erased.tolist()) == {4, 6, 9}  # 3 x 3 with a middle; less where it hangs over the border
    assert (images[:, 0] == images[:, 2]).all()
    assert (erase_squares(torch.ones(9, 1, 12, 12), 0, draw_squares(9, 12, 0, seeded())) == 1).all()


def test_what_is_not_asked_for_is_not_drawn() -> None:
    views = draw_views(9, 9, AugmentSettings(), seeded())
    assert views.mixtures is views.looks is None
    assert views.plain is None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 9))
def test_a_mixture_keeps_at_least_half_of_its_own_image(mix: int, paste: int, seed: int) -> None:
    settings = AugmentSettings(mix=mix / 100, paste=paste / 100)
    views = draw_views(400, 50, settings, seeded(seed))
    if mix == paste == 0:
        assert views.mixtures is None
        return
    mixtures = views.mixtures
    assert mixtures is not None
    assert ((mixtures.own >= 0.5) & (mixtures.own <= 1)).all()
    assert set(mixtures.other.tolist()) <= set(range(50))
    assert ((mixtures.boxes >= 0) & (mixtures.boxes <= 1 + 1e-6)).all()
    pasted = mixtures.boxes.any(1)
    assert abs(float(pasted.float().mean()) - paste / 100) < 0.15
    assert abs(float((mixtures.own < 1).float().mean()) - (mix + paste) / 100) < 0.15
    # What is seen of the image itself is its share, to the pixels on the border of the square.
    seen = mixtures.weights(64).mean((1, 2, 3))
    torch.testing.assert_close(seen, mixtures.own, atol=0.03, rtol=0)
    assert set(mixtures.weights(8)[pasted].unique().tolist()) <= {0.0, 1.0}


def test_a_pasted_square_is_the_others_and_the_rest_its_own() -> None:
    planes = to_planes(colours(2))
    boxes = torch.tensor([[0.25, 0.75, 0.5, 1.0]])  # rows 3 to 8, columns 6 to 11
    views = still(1)._replace(mixtures=Mixtures(torch.tensor([1]), torch.tensor([0.75]), boxes))
    (shown,) = show(planes.__getitem__, torch.tensor([0]), views, 0, PREPROCESSING)
    own, other = normalise_batch(planes, PREPROCESSING)
    assert torch.equal(shown[:, 3:9, 6:], other[:, 3:9, 6:])
    shown[:, 3:9, 6:] = own[:, 3:9, 6:]
    assert torch.equal(shown, own)


def test_a_quarter_turn_is_that() -> None:
    planes = to_planes(colours(2))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).expand(2, 2, 2)
    shown = apply_views(planes, still(2, Looks(turn, torch.tensor([[0.0, 1.0, 1.0]] * 2))), 0, PREPROCESSING)
    plain = normalise_batch(planes, PREPROCESSING)
    torch.testing.assert_close(shown, plain.rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_tones_change_brightness_contrast_and_saturation() -> None:
    planes = to_planes(colours(3))
    same = torch.eye(2).expand(3, 2, 2)
    tones = torch.tensor([[0.25, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    bright, flat, grey = apply_views(planes, still(3, Looks(same, tones)), 0, PREPROCESSING)
    plain = normalise_batch(planes, PREPROCESSING)
    torch.testing.assert_close(bright, plain[0] + 0.25, atol=1e-4, rtol=0)
    torch.testing.assert_close(flat, plain[1].mean().expand(3, 12, 12), atol=1e-4, rtol=0)
    torch.testing.assert_close(grey, plain[2].mean(0, keepdim=True).expand(3, 12, 12), atol=1e-4, rtol=0)


def test_distortion_goes_as_far_as_asked() -> None:
    looks = draw_views(2000, 1, AugmentSettings(warp=0.5, tone=0.5), seeded()).looks
    assert looks is not None
    size = looks.warp.det().sqrt()
    assert 0.85 < size.min() < 0.88
    assert 1.12 < size.max() < 1.15
    angle = torch.atan2(looks.warp[:, 1, 0], looks.warp[:, 0, 0])
    assert 0.25 < angle.abs().max() <= torch.pi / 12 + 1e-6
    low, high = looks.tone.amin(0), looks.tone.amax(0)
    torch.testing.assert_close(low, torch.tensor([-0.25, 0.75, 0.75]), atol=0.01, rtol=0)
    torch.testing.assert_close(high, torch.tensor([0.25, 1.25, 1.25]), atol=0.01, rtol=0)


def test_shares_of_more_than_all_views_are_refused() -> None:
    with pytest.raises(ValueError, match="mix and paste are shares of the same views"):
        AugmentSettings(mix=0.6, paste=0.6)
