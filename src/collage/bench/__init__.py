"""Experiments: open-loop load, policies side by side, figures and tables. One TOML file an experiment."""

from collage.bench._fit_plot import plot_fit
from collage.bench._journal import Journal, TurnResult
from collage.bench._live import Step, run_bench
from collage.bench._outcome import report_bench
from collage.bench._overhead import (
    CallTime,
    OverheadResult,
    OverheadSettings,
    break_even,
    load_overhead,
    measure_overhead,
)
from collage.bench._overhead_report import overhead_table, write_overhead
from collage.bench._plan import Traffic, Turn, traffic, turns
from collage.bench._plane import experiment_id
from collage.bench._report import markdown, terminal_table, write_report
from collage.bench._settings import BenchSettings, load_bench
from collage.bench._summary import Row, summarise
from collage.bench._verdict import verdicts

__all__ = [
    "BenchSettings",
    "CallTime",
    "Journal",
    "OverheadResult",
    "OverheadSettings",
    "Row",
    "Step",
    "Traffic",
    "Turn",
    "TurnResult",
    "break_even",
    "experiment_id",
    "load_bench",
    "load_overhead",
    "markdown",
    "measure_overhead",
    "overhead_table",
    "plot_fit",
    "report_bench",
    "run_bench",
    "summarise",
    "terminal_table",
    "traffic",
    "turns",
    "verdicts",
    "write_overhead",
    "write_report",
]
