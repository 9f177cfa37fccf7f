"""Frames survive any cutting; garbage is an error and nothing worse; shared memory grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.engines._wire import HEADER, MAGIC, MAX_DIMS, MAX_INPUT, Frame, Kind, Parser, Window, WireError, pack

frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    job=st.integers(0, 2**64 - 1),
    role=st.integers(0, 255),
    seconds=st.floats(allow_nan=False, allow_infinity=False),
    shape=st.lists(st.integers(0, 2**32 - 1), max_size=MAX_DIMS).map(tuple),
    payload=st.binary(max_size=300),
)


@given(st.lists(frames, max_size=5), st.data())
def test_frames_come_back_however_the_stream_is_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(pack(frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = Parser()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [frame for piece in pieces for frame in parser.feed(piece)] == sent


@given(st.binary(min_size=HEADER.size, max_size=200))
def test_garbage_is_an_error(junk: bytes) -> None:
    if junk.startswith(MAGIC):
        junk = b"x" + junk[1:]
    with pytest.raises(WireError):
        list(Parser().feed(junk))


@given(st.binary(max_size=HEADER.size))
def test_a_frame_with_a_mangled_header_is_a_frame_or_an_error(tail: bytes) -> None:
    good = pack(Frame(Kind.DONE, 7, shape=(2,), payload=bytes(8)))
    mangled = good[: HEADER.size - len(tail)] + tail + good[HEADER.size :]
    try:
        parsed = list(Parser().feed(mangled))
    except WireError:
        return
    assert len(parsed) <= 1


def test_a_lying_shape_is_an_error() -> None:
    with pytest.raises(WireError, match=r"shape \(3,\)"):
        Frame(Kind.DONE, shape=(3,), payload=bytes(8)).array()
    with pytest.raises(WireError):
        Frame(Kind.DONE, shape=(2**32 - 1, 2**32 - 1), payload=b"").array()


def test_shared_memory_grows_on_both_sides() -> None:
    here = Window()
    there = Window(here.fd)
    rng = np.random.default_rng(0)
    for shape in [(1, 1, 2, 2), (1, 3, 90, 90), (1, 1, 3, 3), (1, 3, 200, 200)]:
        inputs = rng.random(shape, dtype=np.float32)
        here.write(inputs)
        np.testing.assert_array_equal(there.read(shape), inputs)
    with pytest.raises(WireError, match="too small"):
        there.read((1, 3, 2000, 2000))
    here.close()
    here.close()


def test_shared_memory_has_a_limit() -> None:
    window = Window()
    huge = np.broadcast_to(np.float32(0), (MAX_INPUT // 4 + 1,))
    with pytest.raises(ValueError, match="over the limit"):
        window.write(huge)
    window.close()


def test_inputs_need_not_be_contiguous() -> None:
    window = Window()
    inputs = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    window.write(inputs)
    np.testing.assert_array_equal(window.read((4, 2, 3)), inputs)
    window.close()
