"""Requests and the stories of their queries -> spans, sent to a collector from a thread of their own.

    POST /v1/classify             from the request's head to its response; the caller's trace goes on (W3C traceparent)
        prepare                   its images decoded and turned into tensors
        query                     one for each image, from its submission to its outcome
            queue                 until its first job starts
            single                a job: worker, how many queries were in it, and collage.result: won, lost, ...
                decode            its output turned into answers
            collage               ... of a backup, with links to the spans of all other queries in it
                (remote spans)    a remote worker's own, below the span of the first query in the job
                encode            the picture made
                decode

A job that nobody waits for any more runs on: its span follows when it ends, after its query's.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from collage import __version__
from collage.dispatch import Why

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving._story import JobStory, QueryStory
    from collage.serving.logs import RequestNotes

_MOST_WAITING = 8192  # spans; when as many wait for the collector, further ones are dropped
_SEND_SECONDS = 1.0
_COLLECTOR_SECONDS = 5.0  # it has to take a batch
_CLOSE_SECONDS = 2.0  # for the last spans to be sent
_LOOK_SECONDS = 1.0  # for jobs that have outlived their queries
_PATH = "/v1/traces"
_STATE = "tracestate"
_HEADERS = ("traceparent", _STATE)
_LONGEST_STATE = 512  # characters passed on, as W3C asks for. A server may refuse longer headers, and the job with them

_propagator = TraceContextTextMapPropagator()

# What became of a job that did not win: its own end, for readers who do not know that a job is "lost" with its worker.
_RESULTS = {"done": "lost", "lost": "worker_lost", "running": "unfinished"}


class Traces:
    """Makes the spans of one gateway. Event loop's thread only. share: of the requests, 0..1, that are traced, where
    their callers do not say.
    """

    def __init__(self, endpoint: str, share: float = 1.0) -> None:
        url = endpoint.rstrip("/")
        exporter = _Counting(OTLPSpanExporter(url if url.endswith(_PATH) else url + _PATH, timeout=_COLLECTOR_SECONDS))
        self._sent = exporter
        self._processor = _Processor(
            exporter, max_queue_size=_MOST_WAITING, schedule_delay_millis=_SEND_SECONDS * 1e3, max_export_batch_size=512
        )
        self._provider = TracerProvider(
            ParentBased(TraceIdRatioBased(share)), Resource.create(_attributes()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("collage", __version__)
        self._late: list[tuple[QueryStory, JobStory]] = []  # jobs that have outlived their queries

    @property
    def made(self) -> int:
        """Spans."""
        return self._processor.made

    @property
    def sent(self) -> int:
        """Spans that the collector took."""
        return self._sent.taken

    def watch(self, plane: DataPlane) -> None:
        """Make spans of the plane's stories."""
        plane.on_settled.append(self._settled)
        plane.beside.append(self._keep)

    def parent(self, header: Callable[[str], str | None]) -> Context:
        """The caller's span, by its request's headers (or gRPC's metadata)."""
        return _propagator.extract({name: value for name in _HEADERS if (value := header(name))})

    def begin(self, notes: RequestNotes) -> RequestTrace | None:
        """A request whose queries are about to be prepared; None: it is not traced."""
        offset = time.time_ns() - round(time.monotonic() * 1e9)
        began = offset + round(notes.began * 1e9)
        span = self._tracer.start_span("request", notes.parent, SpanKind.SERVER, start_time=began)
        return RequestTrace(self._tracer, span, offset) if span.is_recording() else None

    def close(self) -> None:
        """Send what waits; whoever stops waits at most two seconds for it."""
        for story, job in self._late:
            _job_span(self._tracer, story, job, time.monotonic() if job.ended is None else job.ended)
        self._late.clear()
        closing = threading.Thread(target=self._provider.shutdown, name="collage-traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)  # whatever is still being sent then is left to itself

    def _settled(self, story: QueryStory) -> None:
        if story.trace is None:
            return
        _query_spans(self._tracer, story)
        for job in story.jobs:
            if job.ended is None:
                self._late.append((story, job))
            else:
                _job_span(self._tracer, story, job, job.ended)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            late, self._late = self._late, []
            for story, job in late:
                if job.ended is None:
                    self._late.append((story, job))
                else:
                    _job_span(self._tracer, story, job, job.ended)


class RequestTrace:
    """One traced request. Times are those of `time.monotonic`; offset: nanoseconds to add to them, to be Unix time."""

    __slots__ = ("_context", "_offset", "_span", "tracer")

    def __init__(self, tracer: Any, span: Span, offset: int) -> None:
        self.tracer, self._span, self._offset = tracer, span, offset
        self._context = set_span_in_context(span, Context())

    @property
    def id(self) -> str:
        """The trace's, in hexadecimal."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def prepared(self, began: float, ended: float) -> None:
        """Its images are tensors."""
        _made(self.tracer, "prepare", self._context, self.unix(began), self.unix(ended))

    def query(self, entered: float) -> QueryTrace:
        """A query of it is submitted."""
        return QueryTrace(self, self.tracer.start_span("query", self._context, start_time=self.unix(entered)))

    def end(self, name: str, attributes: dict[str, str | int], *, failed: bool) -> None:
        """It is answered."""
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def unix(self, at: float) -> int:
        """Nanoseconds."""
        return self._offset + round(at * 1e9)


class QueryTrace:
    """One query of it."""

    __slots__ = ("request", "span")

    def __init__(self, request: RequestTrace, span: Span) -> None:
        self.request, self.span = request, span

    def begin(self, job: JobStory) -> dict[str, str]:
        """A job whose first traced query this is leaves for its worker: its span begins here already, as whatever the
        worker makes is below it. Gives W3C's headers, which say so.
        """
        job.span = _begun(self.request.tracer, self, job)
        headers: dict[str, str] = {}
        _propagator.inject(headers, set_span_in_context(job.span, Context()))
        if len(headers.get(_STATE, "")) > _LONGEST_STATE:
            del headers[_STATE]
        return headers


def _query_spans(tracer: Any, story: QueryStory) -> None:
    """The query's own, and the one of its time in the queue."""
    assert story.trace is not None
    span, unix = story.trace.span, story.trace.request.unix
    ended = story.entered if story.at is None else story.at
    waited = story.jobs[0].began if story.jobs else None
    if waited is not None:
        _made(tracer, "queue", set_span_in_context(span, Context()), unix(story.entered), unix(waited))
    span.set_attribute("collage.query", story.query)
    span.set_attribute("collage.control", story.control)
    if isinstance(story.outcome, Why):
        span.set_attribute("collage.why", story.outcome.value)
        span.set_status(Status(StatusCode.ERROR, story.outcome.value))
    elif story.outcome is not None:
        span.set_attribute("collage.source", story.outcome.value)
        span.set_attribute("collage.degraded", story.outcome.degraded)
    if story.winner is not None:
        span.set_attribute("collage.winner", story.winner)
    if story.of is not None:
        span.set_attribute("collage.shares_with", story.of)
    span.end(unix(ended))


def _begun(tracer: Any, trace: QueryTrace, job: JobStory) -> Span:
    """A job, as one of its queries sees it; links lead to the other queries in it, and to the span that its worker was
    told of, where that is another's.
    """
    attributes = {"collage.job": job.job, "collage.worker": job.worker, "collage.queries": job.queries}
    others = [other.span for other in job.traces if other is not trace]
    links = [Link(span.get_span_context()) for span in ([] if job.span is None else [job.span]) + others]
    parent, began = set_span_in_context(trace.span, Context()), trace.request.unix(job.began)
    span: Span = tracer.start_span(job.source.value, parent, attributes=attributes, links=links, start_time=began)
    return span


def _job_span(tracer: Any, story: QueryStory, job: JobStory, ended: float) -> None:
    """The whole of it, once it has ended."""
    assert story.trace is not None
    unix = story.trace.request.unix
    result = "won" if job.job == story.winner else _RESULTS.get(job.how, job.how)
    begun = job.span if story.trace is job.traces[0] else None
    span = _begun(tracer, story.trace, job) if begun is None else begun
    span.set_attribute("collage.result", result)
    below = set_span_in_context(span, Context())
    if job.source.degraded and job.sent is not None:
        _made(tracer, "encode", below, unix(job.began), unix(job.sent))
    if job.back is not None:
        _made(tracer, "decode", below, unix(job.back), unix(ended))
    if result in ("failed", "worker_lost"):
        span.set_status(Status(StatusCode.ERROR, result))
    span.end(unix(ended))


def _made(tracer: Any, name: str, parent: Context, began: int, ended: int) -> None:
    tracer.start_span(name, parent, start_time=began).end(ended)


def _attributes() -> dict[str, str]:
    """What the process is called, unless OpenTelemetry's own variables say so."""
    named = OTEL_SERVICE_NAME in os.environ or "service.name=" in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "")
    return {"service.version": __version__} | ({} if named else {"service.name": "collage"})


class _Processor(BatchSpanProcessor):
    """The library's, which never waits; counts."""

    made = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.made += 1
        super().on_end(span)


class _Counting(SpanExporter):
    """Counts what the collector took."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.taken += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
