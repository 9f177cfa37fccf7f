"""Studies of a fleet: workers that follow a load, several gateways, the edge. Each writes a folder of results."""

from collage.bench.fleet._ddp import DdpPlan, DdpTraining, Run, load_ddp, run_ddp, summarise_ddp, write_ddp
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
    "DdpPlan",
    "DdpTraining",
    "ElasticPlan",
    "ElasticResult",
    "FleetPart",
    "Moment",
    "Run",
    "gateway_rows",
    "load_ddp",
    "run_ddp",
    "run_elastic",
    "summarise_ddp",
    "summarise_elastic",
    "update_fleet_json",
    "write_ddp",
    "write_elastic",
    "write_gateways",
]
