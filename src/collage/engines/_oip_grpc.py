"""The Open Inference Protocol over gRPC, as a client: one server, its connection kept."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
import numpy as np

from collage.engines._base import FloatArray
from collage.engines._oip_options import OipOptions, TlsOptions
from collage.engines._oip_transport import RemoteFault
from collage.engines._oip_wire import RemoteModel, check_form, check_names, check_tensors, floats
from collage.exceptions import SettingsError
from collage.oip import METHODS

_GONE = (grpc.StatusCode.UNAVAILABLE,)
_NO_METADATA = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)


class GrpcTransport:
    """One server at grpc://HOST:PORT, or grpcs:// for TLS. Made on any thread, used on one event loop.

    Behind a balanced URL each slot has a connection of its own: a balancer of connections would send all calls of one
    to the same machine.
    """

    def __init__(self, url: str, options: OipOptions) -> None:
        parts = urlsplit(url)
        if parts.path.strip("/"):
            raise SettingsError(f"urls: {url!r}: gRPC has no path")
        self._target = parts.netloc
        self._options = options
        self._credentials = _credentials(options.tls or TlsOptions()) if parts.scheme == "grpcs" else None
        self._metadata = tuple((name.lower(), value) for name, value in options.all_headers().items())
        self._channels: list[Any] = []
        self._turns = itertools.count()

    async def why_not_ready(self, model: RemoteModel) -> str | None:
        """Asks server and model; None: ready."""
        for name, fields in (("ServerReady", {}), ("ModelReady", _named(model, "name", "version"))):
            try:
                answer = await self._ask(name, METHODS[name].request(**fields), self._options.probe_timeout)
            except _Refused as refused:
                return f"{name}: {refused}"
            if not answer.ready:
                return f"{name}: not ready"
        return None

    async def why_unfit(self, model: RemoteModel) -> str | None:
        """What in the model's metadata says that it is another one than we mean; None: nothing does."""
        request = METHODS["ModelMetadata"].request(**_named(model, "name", "version"))
        try:
            answer = await self._ask("ModelMetadata", request, self._options.probe_timeout)
        except _Refused as refused:
            return None if refused.code in _NO_METADATA else f"ModelMetadata: {refused}"
        tensors = {
            kind: [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in found]
            for kind, found in (("inputs", answer.inputs), ("outputs", answer.outputs))
        }
        return check_tensors(model, tensors)

    async def infer(
        self, model: RemoteModel, request_id: str, inputs: FloatArray, headers: Mapping[str, str] | None = None
    ) -> FloatArray:
        """Inputs (B, ...) -> the output (B, ...), its form checked. headers: of this call, beside those of all."""
        request = METHODS["ModelInfer"].request(id=request_id, **_named(model, "model_name", "model_version"))
        request.inputs.add(name=model.input.name, datatype="FP32", shape=inputs.shape)
        request.outputs.add(name=model.output.name)
        request.raw_input_contents.append(np.ascontiguousarray(inputs, dtype="<f4").tobytes())
        answer = await self._ask("ModelInfer", request, self._options.timeout, headers)
        try:
            return _output(answer, model, request_id)
        except ValueError as error:
            raise RemoteFault(str(error)) from None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        channels, self._channels = self._channels, []
        for channel in channels:
            await channel.close()

    async def _ask(self, name: str, request: Any, seconds: float, headers: Mapping[str, str] | None = None) -> Any:
        if not self._channels:
            count = self._options.slots if self._options.balanced else 1
            self._channels = [self._channel() for _ in range(count)]
        method = METHODS[name]
        channel = self._channels[next(self._turns) % len(self._channels)]
        call = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=_whole(method.response),
        )
        metadata = self._metadata if headers is None else (*self._metadata, *headers.items())
        try:
            answer = await call(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            code, said = error.code(), " ".join((error.details() or "").split())[:200]
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise RemoteFault(f"no answer within {seconds:g} s", silent=True) from None
            if code in _GONE:
                raise RemoteFault(f"no connection ({said})", gone=True) from None
            raise _Refused(code, said) from None
        if answer is None:
            raise RemoteFault("the answer is none of the protocol's messages")
        return answer

    def _channel(self) -> Any:
        options = self._options
        settings = [
            ("grpc.max_receive_message_length", options.max_response_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
            ("grpc.min_reconnect_backoff_ms", int(options.connect_timeout * 1000)),
            # A server that is back is to be found by the next look, not minutes later.
            ("grpc.initial_reconnect_backoff_ms", int(options.probe_interval * 500) + 1),
            ("grpc.max_reconnect_backoff_ms", int(options.probe_interval * 1000) + 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # a query's second try is the dispatcher's, on another worker
        ]
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options=settings)
        return grpc.aio.secure_channel(self._target, self._credentials, options=settings)


class _Refused(RemoteFault):
    """The server answered, with a status of its own."""

    def __init__(self, code: grpc.StatusCode, said: str) -> None:
        super().__init__(f"gRPC {code.name} {said}".rstrip())
        self.code = code


def _whole(kind: Any) -> Any:
    """A deserialiser that gives None for what is no such message; an exception in it would be logged and lost."""

    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except Exception:  # protobuf's DecodeError, whichever implementation it is of
            return None

    return read


def _output(answer: Any, model: RemoteModel, request_id: str) -> FloatArray:
    check_names(model, request_id, answer.model_name, answer.id)
    for number, tensor in enumerate(answer.outputs):
        if tensor.name != model.output.name:
            continue
        shape = check_form(model, tensor.datatype, list(tensor.shape))
        if answer.raw_output_contents:
            if len(answer.raw_output_contents) != len(answer.outputs):
                raise ValueError(f"{len(answer.raw_output_contents)} contents for {len(answer.outputs)} outputs")
            return floats(answer.raw_output_contents[number], shape)
        return floats(np.asarray(tensor.contents.fp32_contents, dtype="<f4").tobytes(), shape)
    raise ValueError(f"the answer has no output {model.output.name!r}")


def _named(model: RemoteModel, name: str, version: str) -> dict[str, str]:
    return {name: model.name, version: model.version or ""}


def _credentials(tls: TlsOptions) -> Any:
    if not tls.verify:
        raise SettingsError("tls.verify: gRPC has no way not to; name the server's certificate as ca")
    return grpc.ssl_channel_credentials(tls.read("ca"), tls.read("key"), tls.read("certificate"))
