"""Simulated experiments: a TOML file each, whose lists expand to points; run on several cores, stopped and resumed."""

from collage.bench.simulated._expand import Named, Point, Tried, load_experiment, points
from collage.bench.simulated._fair import Comparison, compare_rows
from collage.bench.simulated._journal import PointJournal
from collage.bench.simulated._names import axis_name, value_name
from collage.bench.simulated._right import Choice, choices
from collage.bench.simulated._row import Estimate, SimulatedRow
from collage.bench.simulated._run import Step, run_points, total_queries
from collage.bench.simulated._settings import METRICS, Experiment, Figure, MapRule, PolicyEntry, Size
from collage.bench.simulated._summarise import summarise
from collage.bench.simulated._terminal import terminal_table

__all__ = [
    "METRICS",
    "Choice",
    "Comparison",
    "Estimate",
    "Experiment",
    "Figure",
    "MapRule",
    "Named",
    "Point",
    "PointJournal",
    "PolicyEntry",
    "SimulatedRow",
    "Size",
    "Step",
    "Tried",
    "axis_name",
    "choices",
    "compare_rows",
    "load_experiment",
    "points",
    "run_points",
    "summarise",
    "terminal_table",
    "total_queries",
    "value_name",
]
