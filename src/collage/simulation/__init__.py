"""Virtual time: the same dispatcher, driven by an event heap, against modelled workers."""

from collage.simulation._bootstrap import Difference, accuracy_difference
from collage.simulation._costs import CallCost
from collage.simulation._distributions import DrawnTimes, lognormal, pareto, shifted_exponential
from collage.simulation._histogram import LatencyHistogram
from collage.simulation._outcomes import load_outcomes
from collage.simulation._parts import load_timestamps
from collage.simulation._point import run_point
from collage.simulation._profile import Mode, Profile, Times, list_profiles, load_profile, load_times
from collage.simulation._result import Interval, PointResult, interval, merge_points, over_seeds
from collage.simulation._scenario import Scenario, make_scenario
from collage.simulation._service_times import EpisodeTimes, ProfileTimes, ServiceTimes, TraceTimes, WorkerTimes

__all__ = [
    "CallCost",
    "Difference",
    "DrawnTimes",
    "EpisodeTimes",
    "Interval",
    "LatencyHistogram",
    "Mode",
    "PointResult",
    "Profile",
    "ProfileTimes",
    "Scenario",
    "ServiceTimes",
    "Times",
    "TraceTimes",
    "WorkerTimes",
    "accuracy_difference",
    "interval",
    "list_profiles",
    "load_outcomes",
    "load_profile",
    "load_times",
    "load_timestamps",
    "lognormal",
    "make_scenario",
    "merge_points",
    "over_seeds",
    "pareto",
    "run_point",
    "shifted_exponential",
]
