"""Studies of a fleet: workers that follow a load, several gateways, the edge. Each writes a folder of results."""

from collage.bench.fleet._elastic import (
    ElasticPlan,
    ElasticResult,
    Moment,
    run_elastic,
    summarise_elastic,
    write_elastic,
)

__all__ = [
    "ElasticPlan",
    "ElasticResult",
    "Moment",
    "run_elastic",
    "summarise_elastic",
    "write_elastic",
]
