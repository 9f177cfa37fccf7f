"""What the guard has counted, for /metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collage.serving.safety._guard import Guard


class GuardState(Collector):
    """Reads one guard. Tenants are those of the settings, so their number is known."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked for at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        denied = CounterMetricFamily(
            "collage_requests_denied", "Requests without a key, with an unknown one, or one too weak.", labels=["why"]
        )
        for why, count in self._guard.denied.items():
            denied.add_metric([why], count)
        yield denied
        queries = CounterMetricFamily("collage_tenant_queries", "Queries let in.", labels=["tenant"])
        inside = GaugeMetricFamily("collage_tenant_queries_in_flight", "Of them, those inside.", labels=["tenant"])
        limited = CounterMetricFamily(
            "collage_tenant_limited", "Queries refused by a limit of their tenant.", labels=["tenant", "limit"]
        )
        for tenant in self._guard.tenants.values():
            queries.add_metric([tenant.name], tenant.queries)
            inside.add_metric([tenant.name], tenant.in_flight)
            for limit, count in tenant.limited.items():
                limited.add_metric([tenant.name, limit], count)
        yield from (queries, inside, limited)
