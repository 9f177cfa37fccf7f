"""A collector of traces, over real sockets, and callers whose traces begin with them."""

from __future__ import annotations

import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Seen(NamedTuple):
    """A span as the collector got it."""

    name: str
    trace: str
    id: str
    parent: str
    said: dict[str, Any]
    links: list[str]  # the other spans' ids
    began: int
    ended: int
    error: bool


class Collector:
    """Takes traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.services: set[str] = set()
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, request: Any) -> None:
        with self._came:
            for group in request.resource_spans:
                self.services |= {a.value.string_value for a in group.resource.attributes if a.key == "service.name"}
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    said = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
                    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                    links = [link.span_id.hex() for link in span.links]
                    times = span.start_time_unix_nano, span.end_time_unix_nano
                    self.spans.append(Seen(span.name, *ids, said, links, *times, span.status.code == 2))
            self._came.notify_all()

    def await_spans(self, trace: str, *wanted: str) -> list[Seen]:
        """The spans of a trace, once there are such ones: names, or a job's result."""

        def there() -> bool:
            names = [name for span in self.of(trace) for name in (span.name, span.said.get("collage.result"))]
            return all(names.count(name) >= wanted.count(name) for name in wanted)

        with self._came:
            assert self._came.wait_for(there, 60), self.of(trace)
            return self.of(trace)

    def of(self, trace: str) -> list[Seen]:
        return [span for span in self.spans if span.trace == trace]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Caller(NamedTuple):
    """A trace that begins at the client."""

    trace: str
    span: str

    @classmethod
    def new(cls) -> Caller:
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    def header(self, sampled: bool = True) -> str:
        return f"00-{self.trace}-{self.span}-0{int(sampled)}"
