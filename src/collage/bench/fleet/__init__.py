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
from collage.bench.fleet._ray_nodes import RayNodes, ray_nodes
from collage.bench.fleet._ray_report import summarise_ray, write_ray
from collage.bench.fleet._ray_study import Asked, RayMoment, RayPlan, RayResult, run_ray
from collage.bench.fleet._store import FleetPart, update_fleet_json

__all__ = [
    "Asked",
    "DdpPlan",
    "DdpTraining",
    "EdgePlan",
    "ElasticPlan",
    "ElasticResult",
    "FleetPart",
    "Moment",
    "RayMoment",
    "RayNodes",
    "RayPlan",
    "RayResult",
    "Run",
    "gateway_rows",
    "load_ddp",
    "load_edge_plan",
    "ray_nodes",
    "run_ddp",
    "run_edge",
    "run_elastic",
    "run_ray",
    "summarise_ddp",
    "summarise_elastic",
    "summarise_ray",
    "update_fleet_json",
    "why_no_link",
    "write_ddp",
    "write_edge",
    "write_elastic",
    "write_gateways",
    "write_ray",
]
