"""What Prometheus sees of a gateway, at /metrics.

Answers are counted as they are given; all else is read from the dispatcher when Prometheus asks, so that a number has
one home. Each gateway has a registry of its own.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from collage import __version__
from collage.serving._http_gate import Gate
from collage.serving._inputs import Classified
from collage.serving._metrics_state import GatewayState
from collage.serving.safety import Guard, GuardState
from collage.serving.traces import TracesState

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving.traces._traces import Traces

WHY_REJECTED = ("invalid", "deadline", "limited", "unavailable", "cancelled")

# A sixth apart from 1 ms to a minute: p99.9 is known to within 8% either way.
_BUCKETS = tuple(round(0.001 * (7 / 6) ** step, 6) for step in range(73))


class Metrics:
    """The metrics of one gateway."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, plane: DataPlane, gate: Gate, guard: Guard, traces: Traces | None = None) -> None:
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "collage_query_latency_seconds",
            "From a query's submission to its answer.",
            ["source"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.responses = Counter(
            "collage_http_responses", "Responses by route and status.", ["route", "status"], registry=self._registry
        )
        self._grpc = Counter(
            "collage_grpc_calls", "gRPC calls by method and status code.", ["method", "code"], registry=self._registry
        )
        self.rejected = Counter(
            "collage_queries_rejected",
            "Queries without an answer: invalid, limited, unavailable, deadline, or cancelled by a client that left.",
            ["why"],
            registry=self._registry,
        )
        for why in WHY_REJECTED:  # there from the start: a rate knows nothing of a series that begins at 1
            self.rejected.labels(why)
        build = Info("collage_build", "What is running.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version(), "single": plane.single.card.name})
        self._registry.register(GatewayState(plane, gate))
        self._registry.register(GuardState(guard))
        self._registry.register(TracesState(traces))
        plane.on_answered.append(self._count)

    def _count(self, answer: Classified) -> None:
        self._latency.labels(answer.source.value).observe(answer.seconds)

    def count_grpc(self, method: str, code: str) -> None:
        """A gRPC call has ended."""
        self._grpc.labels(method, code).inc()

    def render(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)
