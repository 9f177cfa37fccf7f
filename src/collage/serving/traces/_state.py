"""How the traces fare, for /metrics: there whether or not any are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collage.serving.traces._traces import Traces


class TracesState(Collector):
    """Reads one gateway's traces; None: it makes none."""

    def __init__(self, traces: Traces | None) -> None:
        self._traces = traces

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked for at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        made, sent = (0, 0) if self._traces is None else (self._traces.made, self._traces.sent)
        yield CounterMetricFamily("collage_trace_spans_made", "Spans of traces that were made.", value=made)
        yield CounterMetricFamily(
            "collage_trace_spans_sent", "Of them, those that the collector took; the rest is dropped.", value=sent
        )
