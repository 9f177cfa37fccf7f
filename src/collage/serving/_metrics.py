"""What Prometheus sees of a gateway, at /metrics.

Answers are counted as they are given; all else is read from the dispatchers when Prometheus asks, so that a number has
one home. Each gateway has a registry of its own. What is of one model says so by its labels model and version; a
version's series end when it has been stopped.
"""

from __future__ import annotations

import platform
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from collage import __version__
from collage.serving._http_gate import Gate
from collage.serving._inputs import Classified
from collage.serving._latency import Latencies
from collage.serving._metrics_state import GatewayState
from collage.serving._models import Models
from collage.serving._served import Served
from collage.serving.safety import Guard, GuardState
from collage.serving.traces import TracesState

if TYPE_CHECKING:
    from collage.serving.traces._traces import Traces

WHY_REJECTED = ("invalid", "deadline", "limited", "unavailable", "cancelled")


class Metrics:
    """The metrics of one gateway."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, models: Models, gate: Gate, guard: Guard, traces: Traces | None = None) -> None:
        self._models = models
        self._registry = CollectorRegistry()
        self._latency = Latencies()
        self._registry.register(self._latency)
        self.responses = Counter(
            "collage_http_responses", "Responses by route and status.", ["route", "status"], registry=self._registry
        )
        self._grpc = Counter(
            "collage_grpc_calls", "gRPC calls by method and status code.", ["method", "code"], registry=self._registry
        )
        self.rejected = Counter(
            "collage_queries_rejected",
            "Queries without an answer: invalid, limited, unavailable, deadline, or cancelled by a client that left.",
            ["model", "why"],
            registry=self._registry,
        )
        self._show_rejected("")
        build = Info("collage_build", "What is running.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._registry.register(GatewayState(models, gate))
        self._registry.register(GuardState(guard))
        self._registry.register(TracesState(traces))
        models.watch(self._begun, self._gone)

    def _begun(self, served: Served) -> None:
        self._show_rejected(served.name)
        served.plane.on_answered.append(partial(self._count, served))

    def _gone(self, served: Served) -> None:
        if served.key in {other.key for other in self._models.shown}:  # the same version, loaded again
            return
        self._latency.remove(*served.key)

    def _show_rejected(self, model: str) -> None:
        for why in WHY_REJECTED:  # there from the start: a rate knows nothing of a series that begins at 1
            self.rejected.labels(model, why)

    def _count(self, served: Served, answer: Classified) -> None:
        self._latency.add((*served.key, answer.source.value), answer.seconds)

    def count_grpc(self, method: str, code: str) -> None:
        """A gRPC call has ended."""
        self._grpc.labels(method, code).inc()

    def render(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)
