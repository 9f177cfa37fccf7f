"""A real gateway under fire: faults, overload, a long steady load, and what became of every query; and fuzzing."""

from collage.bench.chaos._faults import FAULTS, Fault
from collage.bench.chaos._journal import ChaosJournal
from collage.bench.chaos._overload import OverloadResult, run_overload
from collage.bench.chaos._report import fuzz_result, ordered, update_results, write_chaos
from collage.bench.chaos._run import FaultResult, recovered_after, run_fault
from collage.bench.chaos._session import PARTS, ChaosStep, Part, run_chaos, seconds_of
from collage.bench.chaos._settings import ChaosSettings, FuzzSettings, OverloadSettings, SoakSettings, load_chaos
from collage.bench.chaos._soak import SoakResult, Trend, run_soak, trend
from collage.bench.chaos._stage import Layout, Stage, open_stage

__all__ = [
    "FAULTS",
    "PARTS",
    "ChaosJournal",
    "ChaosSettings",
    "ChaosStep",
    "Fault",
    "FaultResult",
    "FuzzSettings",
    "Layout",
    "OverloadResult",
    "OverloadSettings",
    "Part",
    "SoakResult",
    "SoakSettings",
    "Stage",
    "Trend",
    "fuzz_result",
    "load_chaos",
    "open_stage",
    "ordered",
    "recovered_after",
    "run_chaos",
    "run_fault",
    "run_overload",
    "run_soak",
    "seconds_of",
    "trend",
    "update_results",
    "write_chaos",
]
