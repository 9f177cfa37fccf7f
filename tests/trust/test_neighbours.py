"""Hostile neighbours change what leaks and nothing else; where no layer crosses a border, not a bit changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.codes import make_code  # noqa: E402
from collage.imaging import Preprocessing, normalise  # noqa: E402
from collage.nets import TileNetSettings, build_net  # noqa: E402
from collage.training._export import write_onnx  # noqa: E402
from collage.trust import Attack, attack_neighbours  # noqa: E402
from collage.zoo import load_model, open_session  # noqa: E402

pytestmark = pytest.mark.train

PREPROCESSING = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.25,))
ATTACK = Attack(steps=12, restarts=2, batch=3)


class Leaky(torch.nn.Module):
    """Column 1 of a tile is its own brightness, column 0 `leak` times that of all tiles, less a little."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = torch.nn.Parameter(torch.tensor(leak))

    def forward(self, canvas: torch.Tensor) -> torch.Tensor:
        means = torch.nn.functional.avg_pool2d(canvas, 8).flatten(1)  # (B, 4)
        everywhere = self.leak * means.mean(1, keepdim=True).expand_as(means)
        return torch.stack([everywhere, means], dim=2)  # (B, 4, 2)


def greys(values: list[int]) -> list[np.ndarray]:
    return [np.full((8, 8, 1), value, np.uint8) for value in values]


def columns(net: torch.nn.Module, group: list[np.ndarray]) -> np.ndarray:
    tiles = [normalise(tile, PREPROCESSING)[0] for tile in group]
    canvas = np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]])[None, None].astype(np.float32)
    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(canvas))[0])


def test_a_net_that_leaks_is_turned_and_its_tile_is_left_alone() -> None:
    groups = [greys([200, 90, 90, 90]), greys([90, 90, 90, 180]), greys([90, 210, 90, 90]), greys([90, 90, 220, 90])]
    watched = np.array([0, 3, 1, 2])
    net = Leaky(2.0)
    shares: list[float] = []
    hostile = attack_neighbours(net, PREPROCESSING, groups, watched, attack=ATTACK, told=shares.append)
    assert shares == [0.75, 1.0]
    for group, changed, tile in zip(groups, hostile, watched, strict=True):
        assert columns(net, group)[tile].argmax() == 1
        assert columns(net, changed)[tile].argmax() == 0
        assert (changed[tile] == group[tile]).all()
        assert all(pixels.dtype == np.uint8 and pixels.shape == (8, 8, 1) for pixels in changed)


def test_what_cannot_be_turned_comes_as_near_as_pixels_allow() -> None:
    groups = [greys([255, 0, 128, 0])]
    net = Leaky(0.5)  # white everywhere still leaves half of the tile's own brightness
    (changed,) = attack_neighbours(net, PREPROCESSING, groups, np.array([0]), attack=ATTACK)
    assert columns(net, changed)[0].argmax() == 1
    assert np.mean([tile.mean() for tile in changed[1:]]) > 240


@pytest.fixture(scope="module")
def isolated() -> torch.nn.Module:
    torch.manual_seed(0)
    spec = {"family": "tiles", "backbone": {"family": "residual", "stem": 4, "widths": [6], "blocks": [1]}}
    return build_net(TileNetSettings.model_validate(spec), channels=1, classes=3, grid=2).eval()


def test_no_slope_reaches_an_isolated_tile(isolated: torch.nn.Module) -> None:
    rng = np.random.default_rng(0)
    groups = [[rng.integers(256, size=(8, 8, 1), dtype=np.uint8) for _ in range(4)] for _ in range(4)]
    watched = np.arange(4)
    hostile = attack_neighbours(isolated, PREPROCESSING, groups, watched, attack=ATTACK)
    for group, changed, tile in zip(groups, hostile, watched, strict=True):
        assert (columns(isolated, changed)[tile] == columns(isolated, group)[tile]).all()


@pytest.fixture(scope="module")
def isolated_session(isolated: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> object:
    path: Path = tmp_path_factory.mktemp("isolated") / "net.onnx"
    write_onnx(isolated, path, (1, 1, 16, 16), input_name="collage")
    return open_session(path)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tile=st.integers(0, 3), scale=st.sampled_from([0.0, 1.0, 30.0, 1e6]))
def test_an_isolated_tiles_columns_are_the_same_bits_beside_anything(
    isolated_session: object, seed: int, tile: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    row, column = divmod(tile, 2)
    own = rng.normal(size=(8, 8))
    outputs = []
    for neighbours in (np.zeros((16, 16)), rng.normal(size=(16, 16)) * scale, np.full((16, 16), scale)):
        neighbours[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = own
        canvas = neighbours[None, None].astype(np.float32)
        (found,) = isolated_session.run(None, {"collage": canvas})  # type: ignore[attr-defined]
        outputs.append(found[0, tile].tobytes())
    assert len(set(outputs)) == 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_blank_tile_of_the_shipped_collage_never_gets_a_class(
    samples: tuple[np.ndarray, np.ndarray], shipped: object, data: st.DataObject
) -> None:
    pixels, _ = samples
    code, session, preprocessing = shipped  # type: ignore[misc]
    images = st.none() | st.integers(0, len(pixels) - 1)
    chosen = data.draw(st.lists(images, min_size=9, max_size=9))
    tensors = [None if i is None else normalise(pixels[i], preprocessing) for i in chosen]
    (output,) = session.run(None, {session.get_inputs()[0].name: code.encode(tensors)})
    answers = code.decode(output, range(9), {})
    assert not {tile for tile, image in enumerate(chosen) if image is None} & answers.keys()


@pytest.fixture(scope="module")
def shipped() -> object:
    model = load_model("fashion-mnist-collage-3x3")
    return make_code(model.card), open_session(model.path), model.card.preprocessing
