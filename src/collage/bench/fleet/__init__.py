"""Studies of a fleet: workers that follow a load, several gateways, the edge. Each writes a folder of results."""

from collage.bench.fleet._elastic import (
    ElasticPlan,
    ElasticResult,
    Moment,
    run_elastic,
    summarise_elastic,
    write_elastic,
)
from collage.bench.fleet._gateways import gateway_rows, write_gateways
from collage.bench.fleet._store import FleetPart, update_fleet_json

__all__ = [
    "ElasticPlan",
    "ElasticResult",
    "FleetPart",
    "Moment",
    "gateway_rows",
    "run_elastic",
    "summarise_elastic",
    "update_fleet_json",
    "write_elastic",
    "write_gateways",
]
