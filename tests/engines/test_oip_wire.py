"""Reading whatever a server sends: an array of the model's form, or a ValueError, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collage.engines._oip_wire import (
    RemoteModel,
    TensorForm,
    check_tensors,
    decode_response,
    encode_request,
)

MODEL = RemoteModel("m", None, TensorForm("x", (-1, 1, 2, 2)), TensorForm("y", (-1, 3)))

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
good: dict[str, Any] = {
    "model_name": "m",
    "id": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1, 2.5, 3]}],
}


def read(body: bytes, length: str | None = None) -> np.ndarray[Any, Any] | None:
    try:
        found = decode_response(body, length, MODEL, "1")
    except ValueError:
        return None
    assert found.dtype == np.float32
    assert found.ndim == 2
    assert found.shape[1] == 3
    return found


@given(st.binary(max_size=300), st.none() | st.text(max_size=5))
def test_any_bytes(body: bytes, length: str | None) -> None:
    read(body, length)


@given(values)
def test_any_json(value: Any) -> None:
    read(json.dumps(value).encode())


@given(st.sampled_from(["model_name", "id", "outputs"]), values)
def test_any_value_in_the_place_of_a_good_one(name: str, value: Any) -> None:
    read(json.dumps(good | {name: value}).encode())


@given(st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), values)
def test_any_value_in_the_place_of_a_good_one_of_the_output(name: str, value: Any) -> None:
    (output,) = good["outputs"]
    read(json.dumps(good | {"outputs": [output | {name: value}]}).encode())


@given(st.binary(max_size=40), st.integers(-2, 50), st.lists(st.integers(-2, 5), max_size=4))
def test_any_tail(tail: bytes, size: int, shape: list[int]) -> None:
    output = {"name": "y", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}
    head = json.dumps(good | {"outputs": [output]}).encode()
    found = read(head + tail, str(len(head)))
    if found is not None:
        assert found.tobytes() == tail[:size]


@given(values)
def test_any_metadata(value: Any) -> None:
    for metadata in ({"inputs": value}, {"outputs": [value]}, {"inputs": [{"name": "x", "shape": value}]}):
        why = check_tensors(MODEL, metadata)
        assert why is None or why


@pytest.mark.parametrize("binary", [True, False])
def test_a_request_holds_its_tensor(binary: bool) -> None:
    inputs = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    body, size = encode_request(MODEL, "7", inputs[:, :, ::-1], binary=binary)
    sent = json.loads(body[:size])
    (tensor,) = sent["inputs"]
    data = np.frombuffer(body[size:], "<f4").tolist() if binary else tensor["data"]
    assert np.reshape(data, tensor["shape"]).tolist() == inputs[:, :, ::-1].tolist()
    assert (sent["id"], tensor["name"], tensor["datatype"], sent["outputs"][0]["name"]) == ("7", "x", "FP32", "y")
