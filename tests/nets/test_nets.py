"""The nets: shapes, which tile an output belongs to, and what a call costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.nets import (  # noqa: E402
    CollageNet,
    CollageNetSettings,
    ResidualNet,
    ResidualNetSettings,
    TileNetSettings,
    WhitenedNet,
    WhitenedNetSettings,
    build_net,
    count_macs,
    count_params,
)
from collage.nets._blocks import BasicBlock  # noqa: E402

pytestmark = pytest.mark.train


@pytest.mark.parametrize("grid", [2, 3, 5])
@pytest.mark.parametrize("block", ["inverted", "basic"])
def test_a_collage_net_answers_for_every_tile(grid: int, block: Literal["inverted", "basic"]) -> None:
    settings = CollageNetSettings(stem=4, width=8, blocks=1, block=block, features=8)
    net = build_net(settings, channels=3, classes=10, grid=grid)
    assert net(torch.zeros(2, 3, grid * 12, grid * 12)).shape == (2, grid * grid, 11)


@pytest.mark.parametrize(("stride", "side"), [(1, 28), (2, 32)])
def test_a_residual_net_answers_once(stride: int, side: int) -> None:
    net = build_net(ResidualNetSettings(stem=4, stem_stride=stride, widths=(8,), blocks=(2,)),
                    channels=1, classes=10, grid=None)  # fmt: skip
    assert net(torch.zeros(3, 1, side, side)).shape == (3, 10)


def test_family_and_grid_must_fit() -> None:
    with pytest.raises(ValueError, match="leave out the grid"):
        build_net(ResidualNetSettings(), channels=1, classes=10, grid=2)
    with pytest.raises(ValueError, match="needs a grid"):
        build_net(CollageNetSettings(), channels=1, classes=10, grid=None)


@pytest.mark.parametrize("tile", range(16))
def test_outputs_come_row_by_row(tile: int) -> None:
    torch.manual_seed(0)
    net = CollageNet(CollageNetSettings(stem=4, width=8, blocks=0, features=8), channels=1, outputs=3, grid=4).eval()
    canvas = torch.zeros(1, 1, 64, 64)
    row, column = divmod(tile, 4)
    canvas[..., row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = torch.randn(16, 16)
    with torch.no_grad():
        change = (net(canvas) - net(torch.zeros_like(canvas)))[0].abs().sum(1)  # (16,)
    assert int(change.argmax()) == tile
    far = [other for other in range(16) if max(abs(other // 4 - row), abs(other % 4 - column)) > 1]
    assert (change[far] == 0).all()  # convolutions reach over a border, not over a whole tile


def test_costs_are_counted() -> None:
    settings = ResidualNetSettings(stem=4, widths=(8,), blocks=(1,))
    net = ResidualNet(settings, channels=1, classes=10)
    # stem 8x8, first 4x4 with stride 2, second, shortcut, head
    macs = 64 * 9 * 4 + 16 * 9 * 4 * 8 + 16 * 9 * 8 * 8 + 16 * 4 * 8 + 8 * 10
    assert count_macs(net, (1, 1, 8, 8)) == macs
    assert net.training
    weights = 9 * 4 + 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 + 8 * 10 + 10
    assert count_params(net) == weights + 2 * (4 + 8 + 8 + 8)  # and the norms'


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize(("depth", "side"), [(1, 28), (2, 32), (3, 28)])
def test_a_whitened_net_answers_once(depth: int, side: int, squeeze: bool) -> None:
    settings = WhitenedNetSettings(widths=(8, 12), depth=depth, squeeze=squeeze)
    net = build_net(settings, channels=3, classes=10, grid=None)
    assert net(torch.zeros(3, 3, side, side)).shape == (3, 10)


def test_the_first_filters_whiten_what_they_were_prepared_with() -> None:
    torch.manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.randn(64, 3, 20, 20), 5, stride=1)  # neighbours alike, as in photos
    net = WhitenedNet(WhitenedNetSettings(widths=(8,)), channels=3, classes=10)
    net.prepare(images)
    responses = net.whiten(images).transpose(0, 1).flatten(1)  # (24, positions)
    covariance = responses @ responses.T / responses.shape[1]
    half = covariance[:12, :12]
    assert torch.allclose(half - half.diag().diag(), torch.zeros(12, 12), atol=1e-3)
    assert torch.allclose(covariance[:12, 12:], -half, atol=1e-4)  # the other half: the same, negated
    assert not net.whiten.weight.requires_grad


BACKBONES = [
    WhitenedNetSettings(widths=(8, 12), depth=3, squeeze=True),
    ResidualNetSettings(stem=4, widths=(8, 8), blocks=(1, 1)),
]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("grid", [2, 3, 5])
def test_no_neighbour_reaches_an_isolated_tile(backbone: WhitenedNetSettings | ResidualNetSettings, grid: int) -> None:
    torch.manual_seed(0)
    net = build_net(TileNetSettings(backbone=backbone), channels=3, classes=10, grid=grid).eval()
    canvas = torch.randn(2, 3, grid * 16, grid * 16)
    before = net(canvas)
    assert before.shape == (2, grid * grid, 11)
    for tile in range(grid * grid):
        row, column = (16 * place for place in divmod(tile, grid))
        other = 100 * torch.randn_like(canvas)
        other[..., row : row + 16, column : column + 16] = canvas[..., row : row + 16, column : column + 16]
        after = net(other)
        assert torch.equal(after[:, tile], before[:, tile])
        assert not torch.isclose(after, before).all(2)[:, [t for t in range(grid * grid) if t != tile]].any()


# As narrow as the nets that `collage distill` chooses where a call may cost little.
NARROW = """
import torch
from collage.nets import ResidualNetSettings, build_net

for width in (4, 8, 12):
    settings = ResidualNetSettings(stem=width, widths=(width, 2 * width), blocks=(1, 1))
    net = build_net(settings, channels=3, classes=2, grid=None).to(memory_format=torch.channels_last)
    images = torch.randn(63, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        net(images).square().mean().backward()
"""


def test_narrow_nets_train_without_breaking_the_heap() -> None:
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]


def test_a_shortcut_is_the_same_in_training() -> None:
    block, images = BasicBlock(4, 8, 2), torch.randn(2, 4, 7, 7)
    convolution, norm = block.shortcut.children()
    assert isinstance(norm, torch.nn.BatchNorm2d)
    norm.momentum = 1.0
    assert block.train()(images).shape == (2, 8, 4, 4)
    seen = convolution(images)  # (2, 8, 4, 4): with its stride, as in evaluation
    torch.testing.assert_close(norm.get_buffer("running_mean"), seen.mean((0, 2, 3)))
    torch.testing.assert_close(norm.get_buffer("running_var"), seen.var((0, 2, 3), unbiased=True))
