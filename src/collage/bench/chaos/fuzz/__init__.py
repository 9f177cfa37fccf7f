"""Inputs that nobody should send, by the hundred thousand, to whatever takes bytes from outside."""

from collage.bench.chaos.fuzz._kept import make_input
from collage.bench.chaos.fuzz._run import GIVEN, fuzz_plan, run_fuzz
from collage.bench.chaos.fuzz._tally import FuzzChunk, FuzzResult, FuzzTarget, summed
from collage.bench.chaos.fuzz._targets import TARGETS, Target

__all__ = [
    "GIVEN",
    "TARGETS",
    "FuzzChunk",
    "FuzzResult",
    "FuzzTarget",
    "Target",
    "fuzz_plan",
    "make_input",
    "run_fuzz",
    "summed",
]
