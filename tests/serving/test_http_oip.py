"""Open Inference Protocol v2, as the published tritonclient speaks it, and as raw JSON."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

LABELS = [3, 0, 9, 5, 5]


@pytest.fixture
def client(gateway: Any) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(gateway.address)
    yield client
    client.close()


def _input(array: np.ndarray[Any, Any], datatype: str, *, binary: bool) -> triton.InferInput:
    tensor = triton.InferInput("images", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def _check(result: triton.InferResult) -> None:
    scores = result.as_numpy("logits")
    assert scores.shape == (len(LABELS), 10)
    assert scores.dtype == np.float32
    assert scores.argmax(axis=1).tolist() == LABELS
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("greys", "3")
    said = {name: json.loads(value) for name, value in response["parameters"].items()}
    assert set(said["source"]) <= {"single", "replica", "collage"}
    assert said["degraded"] == [source == "collage" for source in said["source"]]
    assert len(said["confidence"]) == len(LABELS)
    assert all(0 < confidence <= 1 for confidence in said["confidence"])


def test_triton_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("greys")
    assert client.is_model_ready("greys", "3")
    assert not client.is_model_ready("greys", "4")
    assert not client.is_model_ready("blues")
    index = client.get_model_repository_index()
    assert index == [{"name": "greys", "version": "3", "state": "READY", "reason": ""}]
    server = client.get_server_metadata()
    assert server["name"] == "collage"
    assert "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("greys", "3")
    assert model["versions"] == ["3"]
    assert model["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert model["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_triton_fp32(client: triton.InferenceServerClient, grey: Any, binary_in: bool, binary_out: bool | None) -> None:
    planes = np.stack([grey(label)[np.newaxis] for label in LABELS]).astype(np.float32) / 255  # (n, 1, 8, 8)
    outputs = None if binary_out is None else [triton.InferRequestedOutput("logits", binary_data=binary_out)]
    for array in (planes, np.ascontiguousarray(planes.transpose(0, 2, 3, 1))):
        result = client.infer("greys", [_input(array, "FP32", binary=binary_in)], outputs=outputs, request_id="r-1")
        _check(result)
        assert result.get_response()["id"] == "r-1"


@pytest.mark.parametrize("binary", [True, False])
def test_triton_uint8(client: triton.InferenceServerClient, grey: Any, binary: bool) -> None:
    pixels = np.stack([np.kron(grey(label), np.ones((3, 2), np.uint8)) for label in LABELS])  # (n, 24, 16)
    rgb = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    for array in (pixels, pixels[..., np.newaxis], pixels[:, np.newaxis], rgb, rgb.transpose(0, 3, 1, 2)):
        _check(client.infer("greys", [_input(np.ascontiguousarray(array), "UINT8", binary=binary)], "3"))


@pytest.mark.parametrize("column", [True, False])
def test_triton_bytes(client: triton.InferenceServerClient, png: Any, column: bool) -> None:
    files = np.array([png(label) for label in LABELS], dtype=object)
    texts = np.array([base64.b64encode(png(label)) for label in LABELS], dtype=object)  # JSON has no bytes
    for array, binary in ((files, True), (texts, False)):
        array = array[:, np.newaxis] if column else array  # noqa: PLW2901
        _check(client.infer("greys", [_input(array, "BYTES", binary=binary)]))


def test_triton_classification_and_parameters(client: triton.InferenceServerClient, png: Any) -> None:
    result = client.infer(
        "greys",
        [_input(np.array([png(label) for label in LABELS], dtype=object), "BYTES", binary=True)],
        outputs=[triton.InferRequestedOutput("logits", class_count=2)],
        timeout=30_000_000,
        priority=1,
        parameters={"accept_degraded": False, "deadline_ms": 30_000},
    )
    named = result.as_numpy("logits")
    assert named.shape == (len(LABELS), 2)
    assert [text.decode().split(":")[1:] for text in named[:, 0]] == [[str(label), f"g{label}"] for label in LABELS]
    assert json.loads(result.get_response()["parameters"]["degraded"]) == [False] * len(LABELS)


def test_triton_sees_errors_by_name(client: triton.InferenceServerClient) -> None:
    flat = _input(np.zeros((2, 64), np.float32), "FP32", binary=True)
    with pytest.raises(InferenceServerException, match=r"inputs\[0\]\.shape: \[2, 64\]; \[n, 1, 8, 8\]") as caught:
        client.infer("greys", [flat])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="'blues' is not served here; 'greys' is"):
        client.infer("blues", [flat])


def _post(gateway: Any, body: object, path: str = "/v2/models/greys/infer", **headers: str) -> tuple[int, Any, Any]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.ask("POST", path, sent, headers)  # type: ignore[no-any-return]


def test_one_request_in_plain_json(gateway: Any, grey: Any) -> None:
    data = (grey(6) / 255).ravel().tolist()
    status, answer, headers = _post(
        gateway, {"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": data}]}
    )
    assert (status, headers["content-type"]) == (200, "application/json")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [1, 10])
    assert int(np.argmax(output["data"])) == 6


def test_a_full_request_gets_its_answers_in_order(gateway: Any, png: Any) -> None:
    labels = [index % 10 for index in range(16)]
    data = [base64.b64encode(png(label)).decode() for label in labels]
    _, answer, _ = _post(gateway, {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [16], "data": data}]})
    assert np.reshape(answer["outputs"][0]["data"], (16, 10)).argmax(axis=1).tolist() == labels


def test_the_index_may_be_asked_for_what_is_ready_only(gateway: Any) -> None:
    for body in (b"", b"{}", b'{"ready": true}'):
        status, answer, _ = gateway.ask("POST", "/v2/repository/index", body)
        assert (status, [model["name"] for model in answer]) == (200, ["greys"])
    for body, named in ((b"[", "body: not valid JSON"), (b"[1]", "body: "), (b'{"ready": 1}', "ready: true or false")):
        status, answer, _ = gateway.ask("POST", "/v2/repository/index", body)
        assert (status, answer["error"].startswith(named)) == (400, True)


def test_an_unknown_model_or_version_is_a_404(gateway: Any) -> None:
    for path, named in (
        ("/v2/models/blues", "model: 'blues'"),
        ("/v2/models/blues/infer", "model: 'blues'"),
        ("/v2/models/greys/versions/9", "version: '9'"),
        ("/v2/models/greys/versions/9/infer", "version: '9'"),
        ("/v2/models/greys/versions/9/ready", "version: '9'"),
    ):
        status, answer, _ = gateway.ask("POST" if path.endswith("infer") else "GET", path, b"{}")
        assert (status, answer["error"].startswith(named)) == (404, True)
