"""Open Inference Protocol v2 over gRPC, as the published tritonclient speaks it, and message by message."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from collage import oip
from collage.oip import METHODS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

LABELS = [3, 0, 9, 5, 5]


@pytest.fixture(scope="module")
def served(start_gateway: Any) -> Any:
    return start_gateway(grpc_port=0, max_images=16, max_queue=64, max_body_bytes=1_000_000, max_image_bytes=500_000)


@pytest.fixture
def client(served: Any) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(served.grpc)
    yield client
    client.close()


def _input(array: np.ndarray[Any, Any], datatype: str) -> triton.InferInput:
    tensor = triton.InferInput("images", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _check(result: triton.InferResult) -> None:
    scores = result.as_numpy("logits")
    assert scores.shape == (len(LABELS), 10)
    assert scores.dtype == np.float32
    assert scores.argmax(axis=1).tolist() == LABELS
    response = result.get_response()
    assert (response.model_name, response.model_version) == ("greys", "3")
    said = {name: json.loads(value.string_param) for name, value in response.parameters.items()}
    assert set(said["source"]) <= {"single", "replica", "collage"}
    assert said["degraded"] == [source == "collage" for source in said["source"]]
    assert all(0 < confidence <= 1 for confidence in said["confidence"])


def test_triton_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("greys")
    assert client.is_model_ready("greys", "3")
    with pytest.raises(InferenceServerException, match="'blues' is not served here"):
        client.is_model_ready("blues")
    index = client.get_model_repository_index(as_json=True)
    assert index["models"] == [{"name": "greys", "version": "3", "state": "READY"}]
    server = client.get_server_metadata(as_json=True)
    assert server["name"] == "collage"
    model = client.get_model_metadata("greys", "3", as_json=True)
    assert model["versions"] == ["3"]
    assert model["inputs"] == [{"name": "images", "datatype": "FP32", "shape": ["-1", "1", "8", "8"]}]
    assert model["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": ["-1", "10"]}]


def test_triton_every_datatype(client: triton.InferenceServerClient, grey: Any, png: Any) -> None:
    planes = np.stack([grey(label)[np.newaxis] for label in LABELS])  # (n, 1, 8, 8)
    files = np.array([png(label) for label in LABELS], dtype=object)
    for array, datatype in (
        (planes.astype(np.float32) / 255, "FP32"),
        (np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).astype(np.float32) / 255, "FP32"),
        (planes, "UINT8"),
        (np.repeat(planes.transpose(0, 2, 3, 1), 3, axis=-1), "UINT8"),
        (files, "BYTES"),
        (files[:, np.newaxis], "BYTES"),
    ):
        result = client.infer("greys", [_input(array, datatype)], "3", request_id="r-1", client_timeout=30)
        _check(result)
        assert result.get_response().id == "r-1"


def test_triton_classification_and_parameters(client: triton.InferenceServerClient, png: Any) -> None:
    result = client.infer(
        "greys",
        [_input(np.array([png(label) for label in LABELS], dtype=object), "BYTES")],
        outputs=[triton.InferRequestedOutput("logits", class_count=2)],
        parameters={"accept_degraded": False, "deadline_ms": 30_000},
    )
    named = result.as_numpy("logits")
    assert named.shape == (len(LABELS), 2)
    assert [text.decode().split(":")[1:] for text in named[:, 0]] == [[str(label), f"g{label}"] for label in LABELS]
    assert json.loads(result.get_response().parameters["degraded"].string_param) == [False] * len(LABELS)


def test_triton_asynchronous(client: triton.InferenceServerClient, png: Any) -> None:
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()
    files = _input(np.array([png(label) for label in LABELS], dtype=object), "BYTES")
    client.async_infer("greys", [files], lambda result, error: done.set_result(error or result))
    _check(done.result())


@pytest.fixture
def channel(served: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield channel


def _call(channel: grpc.Channel, name: str, request: Any = None, timeout: float = 60.0) -> Any:
    method = METHODS[name]
    call = channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return call(request or method.request(), timeout=timeout)


def _request(datatype: str = "BYTES", shape: list[int] | None = None, **contents: Any) -> Any:
    request = METHODS["ModelInfer"].request(model_name="greys")
    tensor = request.inputs.add(name="images", datatype=datatype, shape=shape or [1])
    if "raw" in contents:
        request.raw_input_contents.append(contents.pop("raw"))
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    return request


def test_typed_contents_are_answered_in_kind(channel: grpc.Channel, grey: Any, png: Any) -> None:
    pixels = grey(6).ravel().tolist()
    for request in (
        _request("FP32", [1, 1, 8, 8], fp32_contents=[pixel / 255 for pixel in pixels]),
        _request("UINT8", [1, 8, 8], uint_contents=pixels),
        _request("BYTES", [1], bytes_contents=[png(6)]),
    ):
        answer = _call(channel, "ModelInfer", request)
        assert not answer.raw_output_contents
        (output,) = answer.outputs
        assert (output.datatype, list(output.shape)) == ("FP32", [1, 10])
        assert int(np.argmax(output.contents.fp32_contents)) == 6
        request.outputs.add(name="logits").parameters["classification"].int64_param = 1
        (output,) = _call(channel, "ModelInfer", request).outputs
        assert output.contents.bytes_contents[0].endswith(b":6:g6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.inputs.add(name="more"), "inputs: a list of exactly one tensor"),
        (lambda r: r.ClearField("inputs"), "inputs: a list of exactly one tensor"),
        (lambda r: setattr(r.inputs[0], "name", "picture"), r"inputs\[0\].name: 'picture'; the input of greys is"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP64"), r"inputs\[0\].datatype: 'FP64'"),
        (lambda r: r.inputs[0].shape.append(7), r"inputs\[0\].shape: \[1, 7\]"),
        (lambda r: r.inputs[0].shape.__setitem__(0, 17), r"inputs\[0\].shape: 17 images; at most 16"),
        (lambda r: r.raw_input_contents.append(b""), "raw_input_contents: 2; one for each"),
        (lambda r: r.raw_input_contents.__setitem__(0, b"\x09\0\0\0nothing"), r"inputs\[0\].data: element 0 claims"),
        (lambda r: r.raw_input_contents.__setitem__(0, b"\x04\0\0\0abcd"), "image: "),
        (lambda r: r.inputs[0].contents.int_contents.append(1), "not together with raw_input_contents"),
        (lambda r: r.outputs.add(name="scores"), r"outputs\[0\].name: 'scores'"),
        (lambda r: r.outputs.extend([r.outputs.add(name="logits")]), "outputs: a list of at most one"),
        (lambda r: oip.write_parameters(r.parameters, {"deadline_ms": -1}), "parameters.deadline_ms: -1"),
        (lambda r: oip.write_parameters(r.parameters, {"deadline_ms": "soon"}), "parameters.deadline_ms: a number"),
        (lambda r: oip.write_parameters(r.parameters, {"accept_degraded": 1}), "parameters.accept_degraded: true or"),
    ],
)
def test_what_is_wrong_is_named(channel: grpc.Channel, png: Any, change: Any, message: str) -> None:
    image = png(3)
    request = _request(raw=len(image).to_bytes(4, "little") + image)
    change(request)
    with pytest.raises(grpc.RpcError, match=message) as caught:
        _call(channel, "ModelInfer", request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_is_not_served_is_not_found(channel: grpc.Channel, png: Any) -> None:
    request = _request(bytes_contents=[png(1)])
    request.model_version = "9"
    with pytest.raises(grpc.RpcError, match="version: '9' of 'greys' is not served here") as caught:
        _call(channel, "ModelInfer", request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        _call(channel, "ModelMetadata", METHODS["ModelMetadata"].request(name="blues"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_pixels_out_of_range_and_messages_too_large(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError, match="UINT8 needs whole numbers from 0 to 255"):
        _call(channel, "ModelInfer", _request("UINT8", [1, 1, 1], uint_contents=[256]))
    with pytest.raises(grpc.RpcError) as caught:
        _call(channel, "ModelInfer", _request(raw=bytes(1_000_001)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", ["ModelInfer", "ModelMetadata"])
@pytest.mark.parametrize("body", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x01\xff", b"\x0b"])
def test_a_message_that_is_none(channel: grpc.Channel, name: str, body: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHODS[name].path)(body, timeout=60.0)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(f"message: no {name}Request (")


def test_deadlines_and_clients_that_go(start_gateway: Any, png: Any) -> None:
    """No worker gets anything done, so that only a deadline or its client ends a query."""
    gateway = start_gateway(grpc_port=0, max_queue=8, max_images=8, control_share=0)
    with grpc.insecure_channel(gateway.grpc) as channel, gateway.stopped_workers():
        request = _request(bytes_contents=[png(2)])
        with pytest.raises(grpc.RpcError) as caught:
            _call(channel, "ModelInfer", request, timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        gateway.await_metric("collage_queries_in_flight", 0)
        before = gateway.metrics()  # on a busy machine the client may have given that one up before the gateway did

        oip.write_parameters(request.parameters, {"deadline_ms": 50})  # the earlier of the two
        with pytest.raises(grpc.RpcError, match="no answer within the deadline") as caught:
            _call(channel, "ModelInfer", request, timeout=60.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

        method = METHODS["ModelInfer"]
        infer = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
        waiting = infer.future(_request("BYTES", [8], bytes_contents=[png(2)] * 8), timeout=60.0)
        gateway.await_metric("collage_queries_in_flight", 8)
        with pytest.raises(grpc.RpcError, match="8 queries are in flight") as caught:
            infer(_request(bytes_contents=[png(2)]), timeout=60.0)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
        waiting.cancel()
        gateway.await_metric("collage_queries_in_flight", 0)
        for name, more in (
            ('collage_queries_rejected_total{why="cancelled"}', 8),
            ('collage_grpc_calls_total{code="CANCELLED",method="ModelInfer"}', 1),
        ):
            gateway.await_metric(name, before.get(name, 0) + more)


def test_the_drain_finishes_what_was_accepted(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(grpc_port=0, hold=1.0, policy="none")
    method = METHODS["ModelInfer"]
    with grpc.insecure_channel(gateway.grpc) as channel:
        infer = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
        accepted = infer.future(_request(bytes_contents=[png(4)]), timeout=60.0)
        gateway.await_metric("collage_queries_in_flight", 1)
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert int(np.argmax(accepted.result().outputs[0].contents.fp32_contents)) == 4
        assert gateway.process.wait() == 0


def test_a_taken_port_is_said_in_one_line(start_gateway: Any, served: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"grpc_port: .* cannot be listened on"):
        start_gateway(grpc_port=served.grpc.rpartition(":")[2])


def test_the_compiled_description_is_that_of_the_proto(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = Path(oip.__file__).parent
    made = tmp_path / "made.binpb"
    assert protoc.main(["", f"-I{folder}", f"--descriptor_set_out={made}", "open_inference.proto"]) == 0
    assert made.read_bytes() == (folder / "open_inference.binpb").read_bytes()
