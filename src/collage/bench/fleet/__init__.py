"""Studies of a fleet: workers that follow a load, several gateways, the edge. Each writes a folder of results."""

from collage.bench.fleet._ddp import DdpPlan, DdpTraining, Run, load_ddp, run_ddp, summarise_ddp, write_ddp
from collage.bench.fleet._edge import load_edge_plan, run_edge, write_edge
from collage.bench.fleet._edge_link import why_no_link
from collage.bench.fleet._edge_plan import EdgePlan
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
    "EdgePlan",
    "ElasticPlan",
    "ElasticResult",
    "FleetPart",
    "Moment",
    "Run",
    "gateway_rows",
    "load_ddp",
    "load_edge_plan",
    "run_ddp",
    "run_edge",
    "run_elastic",
    "summarise_ddp",
    "summarise_elastic",
    "update_fleet_json",
    "why_no_link",
    "write_ddp",
    "write_edge",
    "write_elastic",
    "write_gateways",
]
