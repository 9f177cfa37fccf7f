"""The Open Inference Protocol's codec, without a transport: what goes in comes out, what is wrong is named."""

from __future__ import annotations

import base64
import contextlib
import struct
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from collage.dispatch import Source
from collage.exceptions import CollageError, InvalidInput, TooLarge
from collage.serving._inputs import Classified, Encoded, Pixels, Tensor
from collage.serving._oip_model import OipModel
from collage.serving._oip_request import InferRequest, parse_infer
from collage.serving._oip_response import encode_response
from collage.serving._settings import ServingSettings

MODEL = OipModel("shoes", "3", ("boot", "sandal", "sneaker"), "logits", "images", (3, 4, 4), "logits")
SETTINGS = ServingSettings(max_images=8, max_queue=64)


def _tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 4, 4], "data": [0.5] * 48}
    return {key: value for key, value in (tensor | changes).items() if value is not None}


def _parse(tensor: object = None, tail: bytes = b"", **request: Any) -> InferRequest:
    body = orjson.dumps({"inputs": [_tensor() if tensor is None else tensor]} | request)
    return parse_infer(body + tail, str(len(body)) if tail else None, MODEL, SETTINGS)


def _arrays(request: InferRequest) -> list[NDArray[Any]]:
    return [image.array for image in request.images if isinstance(image, Tensor | Pixels)]


@given(
    count=st.integers(1, 8), last=st.booleans(), how=st.sampled_from(["flat", "nested", "binary"]), seed=st.integers(0)
)
def test_fp32_arrives_as_it_was_in_every_form(count: int, last: bool, how: str, seed: int) -> None:
    images = np.random.default_rng(seed).normal(size=(count, 3, 4, 4)).astype(np.float32)
    sent = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if last else images
    tensor = _tensor(shape=list(sent.shape), data=None)
    if how == "binary":
        tensor["parameters"] = {"binary_data_size": sent.nbytes}
        request = _parse(tensor, sent.tobytes())
    else:
        request = _parse(tensor | {"data": sent.ravel().tolist() if how == "flat" else sent.tolist()})
    assert np.array_equal(_arrays(request), images)
    assert all(isinstance(image, Tensor) for image in request.images)


@given(
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    channels=st.sampled_from([0, 1, 3]),
    first=st.booleans(),
    binary=st.booleans(),
)
def test_uint8_of_any_size_arrives_as_height_width_channels(
    height: int, width: int, channels: int, first: bool, binary: bool
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, channels or 1), dtype=np.uint8)
    sent = images[..., 0] if channels == 0 else images.transpose(0, 3, 1, 2) if first else images
    tensor = _tensor(datatype="UINT8", shape=list(sent.shape), data=None)
    if binary:
        tensor["parameters"] = {"binary_data_size": sent.size}
        request = _parse(tensor, sent.tobytes())
    else:
        request = _parse(tensor | {"data": sent.ravel().tolist()})
    assert np.array_equal(_arrays(request), images)


@given(files=st.lists(st.binary(max_size=40), min_size=1, max_size=8), column=st.booleans(), binary=st.booleans())
def test_bytes_arrive_as_they_were(files: list[bytes], column: bool, binary: bool) -> None:
    shape = [len(files), 1] if column else [len(files)]
    tensor = _tensor(datatype="BYTES", shape=shape, data=None)
    if binary:
        tail = b"".join(struct.pack("<I", len(file)) + file for file in files)
        request = _parse(tensor | {"parameters": {"binary_data_size": len(tail)}}, tail)
    else:
        texts = [base64.b64encode(file).decode() for file in files]
        request = _parse(tensor | {"data": [[text] for text in texts] if column else texts})
    assert [image.data for image in request.images if isinstance(image, Encoded)] == files


def test_an_ambiguous_layout_needs_the_layout_parameter() -> None:
    pixels = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    tensor = _tensor(datatype="UINT8", shape=[2, 3, 5, 3], data=pixels.ravel().tolist())
    with pytest.raises(InvalidInput, match=r"inputs\[0\].shape: .*'layout'"):
        _parse(tensor)
    rows = _arrays(_parse(tensor | {"parameters": {"layout": "NHWC"}}))
    planes = _arrays(_parse(tensor | {"parameters": {"layout": "NCHW"}}))
    assert np.array_equal(rows, pixels)
    assert np.array_equal(planes, pixels.transpose(0, 2, 3, 1))


def test_options_are_read() -> None:
    request = _parse(
        id="a7",
        parameters={"accept_degraded": False, "deadline_ms": 250, "binary_data_output": True, "priority": 3},
        outputs=[{"name": "logits", "parameters": {"classification": 99, "binary_data": False}}],
    )
    assert request.options == (False, 0.25)
    assert (request.id, request.binary_output, request.classification) == ("a7", False, 3)


def test_options_have_defaults() -> None:
    request = _parse()
    assert request.options == (True, SETTINGS.default_deadline)
    assert (request.id, request.binary_output, request.classification) == ("", False, 0)


@pytest.mark.parametrize(("timeout", "deadline"), [(0, SETTINGS.default_deadline), (40_000, 0.04), (10**12, 60.0)])
def test_tritons_timeout_is_a_deadline_in_microseconds(timeout: int, deadline: float) -> None:
    assert _parse(parameters={"timeout": timeout}).options.deadline == deadline


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        ([], r"inputs\[0\]: an object"),
        (_tensor(name="pictures"), r"inputs\[0\]\.name: 'pictures'; the input of shoes is 'images'"),
        (_tensor(name=None), r"inputs\[0\]\.name"),
        (_tensor(datatype="FP64"), r"inputs\[0\]\.datatype: 'FP64'"),
        (_tensor(datatype=None), r"inputs\[0\]\.datatype"),
        (_tensor(shape=None), r"inputs\[0\]\.shape"),
        (_tensor(shape=[]), r"inputs\[0\]\.shape"),
        (_tensor(shape=[1, 3, 4, 5]), r"inputs\[0\]\.shape: .*\[n, 3, 4, 4\] or \[n, 4, 4, 3\]"),
        (_tensor(shape=[-1, 3, 4, 4]), r"inputs\[0\]\.shape"),
        (_tensor(shape=[0, 3, 4, 4], data=[]), r"inputs\[0\]\.shape"),
        (_tensor(shape=[True, 3, 4, 4]), r"inputs\[0\]\.shape"),
        (_tensor(shape=[1.0, 3, 4, 4]), r"inputs\[0\]\.shape"),
        (_tensor(shape=["1", 3, 4, 4]), r"inputs\[0\]\.shape"),
        (_tensor(shape=[1] * 100), r"inputs\[0\]\.shape"),
        (_tensor(datatype="UINT8", shape=[1, 2**60, 2**60, 3]), r"inputs\[0\]\.data"),
        (_tensor(datatype="UINT8", shape=[1, 4, 4, 2]), r"inputs\[0\]\.shape"),
        (_tensor(datatype="UINT8", shape=[8]), r"inputs\[0\]\.shape"),
        (_tensor(datatype="UINT8", data=[256] * 48), r"inputs\[0\]\.data: UINT8"),
        (_tensor(datatype="UINT8", data=[-1] * 48), r"inputs\[0\]\.data: UINT8"),
        (_tensor(datatype="UINT8", data=[0.5] * 48), r"inputs\[0\]\.data: UINT8"),
        (_tensor(data=None), r"inputs\[0\]\.data"),
        (_tensor(data="abc"), r"inputs\[0\]\.data"),
        (_tensor(data=[0.5] * 47), r"inputs\[0\]\.data: 47 numbers"),
        (_tensor(data=["0.5"] * 48), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[*[0.5] * 47, "0.5"]), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[*[0.5] * 47, None]), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=["x" * 1_000_000, *[0.5] * 500_000]), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[["x" * 1_000_000, *[0.5] * 500_000]]), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[*[0.5] * 47, True]), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[*[0.5] * 47, [0.5]]), r"inputs\[0\]\.data: lists of unequal length"),
        (_tensor(data=[[[[[0.5] * 48]]]]), r"inputs\[0\]\.data: nested as \[1, 1, 1, 1, 48\]"),
        (_tensor(data=[0.5] * 49), r"inputs\[0\]\.data: 49 elements; shape \[1, 3, 4, 4\] needs 48"),
        (_tensor(data=[[0.5] * 48] * 48), r"inputs\[0\]\.data: 2304 elements; shape"),
        (_tensor(data=[[]] * 48), r"inputs\[0\]\.data: nested as \[48, 0\]"),
        (_tensor(data=[]), r"inputs\[0\]\.data: 0 numbers"),
        (_tensor(data=[{}] * 48), r"inputs\[0\]\.data: something other than numbers"),
        (_tensor(data=[[0.5] * 24] * 2), r"inputs\[0\]\.data: nested as \[2, 24\]"),
        (_tensor(data=[[0.5], [0.5, 0.5]]), r"inputs\[0\]\.data: lists of unequal length"),
        (_tensor(parameters={"layout": "NHCW"}), r"inputs\[0\]\.parameters\.layout"),
        (_tensor(parameters={"layout": 7}), r"inputs\[0\]\.parameters\.layout"),
        (_tensor(parameters={"layout": "NHWC"}), r"inputs\[0\]\.shape: .*layout NHWC"),
        (_tensor(parameters=[]), r"inputs\[0\]\.parameters"),
        (_tensor(parameters={"binary_data_size": 192}), r"inputs\[0\]\.data: not together"),
        (
            _tensor(data=None, parameters={"binary_data_size": 192}),
            r"inputs\[0\]\.parameters\.binary_data_size: 192; 0 b",
        ),
        (_tensor(parameters={"shared_memory_region": "x"}), r"inputs\[0\]\.parameters\.shared_memory_region"),
        (_tensor(datatype="BYTES", shape=[1], data=["%%%"]), r"inputs\[0\]\.data\[0\]: not base64"),
        (_tensor(datatype="BYTES", shape=[1], data=["é"]), r"inputs\[0\]\.data\[0\]: not base64"),
        (_tensor(datatype="BYTES", shape=[1], data=[5]), r"inputs\[0\]\.data\[0\]: not a string"),
        (_tensor(datatype="BYTES", shape=[2], data=["aaaa"]), r"inputs\[0\]\.data: 1 elements"),
        (_tensor(datatype="BYTES", shape=[1, 2], data=["aaaa", "aaaa"]), r"inputs\[0\]\.shape: .*BYTES"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_named(tensor: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as caught:
        _parse(tensor)
    assert caught.value.status == 400
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("shape", [[1, 3, 4, 4], [1, 200, 100, 1]])
@pytest.mark.parametrize("nested", [False, True])
def test_text_among_numbers_takes_no_memory(shape: list[int], nested: bool) -> None:
    data = ["x" * 2000, *[0] * 19_999]  # as an array of texts: 160 MB
    tensor = _tensor(datatype="UINT8", shape=shape, data=[data] if nested else data)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"inputs\[0\]\.data: "):
            _parse(tensor)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_whole_numbers_of_any_size_are_fp32() -> None:
    (image,) = _arrays(_parse(_tensor(data=[2**64 - 1, -(2**63), *[1] * 45, 1e300])))
    assert image.ravel()[[0, 1, 2, 47]].tolist() == [2.0**64, -(2.0**63), 1.0, np.inf]


@pytest.mark.parametrize(
    ("request_changes", "named"),
    [
        ({"inputs": []}, "inputs: a list of exactly one"),
        ({"inputs": [_tensor(), _tensor()]}, "inputs: a list of exactly one"),
        ({"inputs": {}}, "inputs: a list of exactly one"),
        ({"id": 7}, "id: a string"),
        ({"parameters": []}, "parameters: an object"),
        ({"parameters": {"deadline_ms": -5}}, r"parameters\.deadline_ms: -5"),
        ({"parameters": {"deadline_ms": 0}}, r"parameters\.deadline_ms"),
        ({"parameters": {"deadline_ms": 1e9}}, r"parameters\.deadline_ms"),
        ({"parameters": {"deadline_ms": "5"}}, r"parameters\.deadline_ms: a number"),
        ({"parameters": {"deadline_ms": True}}, r"parameters\.deadline_ms: a number"),
        ({"parameters": {"timeout": -1}}, r"parameters\.timeout"),
        ({"parameters": {"accept_degraded": "no"}}, r"parameters\.accept_degraded: true or false"),
        ({"parameters": {"binary_data_output": 1}}, r"parameters\.binary_data_output: true or false"),
        ({"outputs": {}}, "outputs: a list"),
        ({"outputs": [{"name": "scores"}]}, r"outputs\[0\]\.name: 'scores'; the output of shoes is 'logits'"),
        ({"outputs": [{"name": "logits"}, {"name": "logits"}]}, "outputs: a list of at most one"),
        ({"outputs": [None]}, r"outputs\[0\]: an object"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, r"parameters\.classification"),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": 0}}]}, r"parameters\.binary_data"),
        ({"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "x"}}]}, "shared_memory_region"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(request_changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        _parse(**request_changes)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs": [NaN]}', b"[" * 100_000, b'{"a":' * 5000 + b"1"]
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^body: "):
        parse_infer(body, None, MODEL, SETTINGS)


@pytest.mark.parametrize("length", ["-1", "0", "999999", "abc", "1e2", "", " 5", "9" * 5000, "\u0663"])
def test_a_lying_header_length_is_refused(length: str) -> None:
    with pytest.raises(InvalidInput, match=r"^Inference-Header-Content-Length: "):
        parse_infer(b"{}" * 20, length, MODEL, SETTINGS)


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "tail", "named"),
    [
        ("FP32", [1, 3, 4, 4], 191, b"x" * 191, "binary_data_size: 191 bytes; FP32 .* takes 192"),
        ("FP32", [1, 3, 4, 4], 192, b"x" * 193, "binary_data_size: 192; 193 bytes follow"),
        ("FP32", [1, 3, 4, 4], -1, b"x" * 192, "binary_data_size: -1; 192 bytes follow"),
        ("FP32", [1, 3, 4, 4], True, b"x", "binary_data_size"),
        ("FP32", [1, 3, 4, 4], "192", b"x" * 193, "binary_data_size"),
        ("FP32", [1, 3, 4, 4], None, b"x" * 192, "body: 192 bytes follow the JSON that no tensor claims"),
        ("BYTES", [1], 3, b"\x01\0\0", "data: ends before the length of element 0"),
        ("BYTES", [1], 8, b"\xff\xff\xff\xffabcd", "element 0 claims 4294967295 bytes, but 4 are left"),
        ("BYTES", [1], 6, b"\x01\0\0\0ab", "1 bytes are left after 1 elements"),
        ("BYTES", [2], 5, b"\x01\0\0\0a", "ends before the length of element 1"),
    ],
)
def test_a_lying_binary_size_is_refused(datatype: str, shape: list[int], size: object, tail: bytes, named: str) -> None:
    parameters = {} if size is None else {"binary_data_size": size}
    with pytest.raises(InvalidInput, match=named):
        _parse(_tensor(datatype=datatype, shape=shape, data=None, parameters=parameters), tail)


def test_more_json_than_allowed_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match=r"^body: 4,194,305 bytes of JSON; .*binary tensor data extension"):
        parse_infer(b"[" * (SETTINGS.max_json_bytes + 1), None, MODEL, SETTINGS)


def test_too_many_images_are_refused_before_their_data_is_read() -> None:
    with pytest.raises(TooLarge, match=r"inputs\[0\]\.shape: 9 images; at most 8"):
        _parse(_tensor(shape=[9, 3, 4, 4], data=[]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(
    tensor=st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("images") | _JSON,
            "datatype": st.sampled_from(["FP32", "UINT8", "BYTES"]) | _JSON,
            "shape": st.lists(st.integers(-1, 4), max_size=5) | _JSON,
            "data": _JSON,
            "parameters": st.dictionaries(st.sampled_from(["layout", "binary_data_size"]), _JSON) | _JSON,
        },
    ),
    parameters=st.dictionaries(st.sampled_from(["deadline_ms", "timeout", "accept_degraded"]), _JSON),
    outputs=_JSON | st.lists(st.fixed_dictionaries({"name": st.just("logits"), "parameters": _JSON}), max_size=2),
    tail=st.binary(max_size=20),
)
def test_no_json_raises_anything_but_a_named_error(
    tensor: object, parameters: object, outputs: object, tail: bytes
) -> None:
    with contextlib.suppress(CollageError):
        request = _parse(tensor, tail, parameters=parameters, outputs=outputs)
        assert 1 <= len(request.images) <= 8


def _answers() -> list[Classified]:
    first, second = np.array([[0.5, 2.25, -1], [1, 0, 3]], dtype=np.float32)
    return [
        Classified(first, "sandal", 1, Source.SINGLE, False, 0.75, 0.01),
        Classified(second, "sneaker", 2, Source.COLLAGE, True, 0.5, 0.02),
    ]


def test_a_response_in_json() -> None:
    encoded = encode_response(_parse(id="a7"), _answers(), MODEL)
    assert encoded.json_size is None
    assert orjson.loads(encoded.body) == {
        "model_name": "shoes",
        "model_version": "3",
        "id": "a7",
        "parameters": {
            "source": '["single","collage"]',
            "degraded": "[false,true]",
            "confidence": "[0.75,0.5]",
            "milliseconds": "[10.0,20.0]",
        },
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": [0.5, 2.25, -1.0, 1.0, 0.0, 3.0]}],
    }


def test_a_response_in_binary() -> None:
    encoded = encode_response(_parse(parameters={"binary_data_output": True}), _answers(), MODEL)
    assert encoded.json_size is not None
    (output,) = orjson.loads(encoded.body[: encoded.json_size])["outputs"]
    assert output == {"name": "logits", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    assert np.frombuffer(encoded.body[encoded.json_size :], "<f4").tolist() == [0.5, 2.25, -1.0, 1.0, 0.0, 3.0]


def test_classification_names_the_best_classes() -> None:
    wanted = [{"name": "logits", "parameters": {"classification": 2, "binary_data": False}}]
    (output,) = orjson.loads(encode_response(_parse(outputs=wanted), _answers(), MODEL).body)["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    assert output["data"] == ["2.250000:1:sandal", "0.500000:0:boot", "3.000000:2:sneaker", "1.000000:0:boot"]
