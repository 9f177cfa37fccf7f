"""Virtual time: the same dispatcher, driven by an event heap, against modelled workers."""

from collage.simulation._compare import SimulatedRow, compare
from collage.simulation._profile import Mode, Profile, Times, list_profiles, load_profile, load_times
from collage.simulation._service_times import EpisodeTimes, ProfileTimes, ServiceTimes, TraceTimes, WorkerTimes
from collage.simulation._simulator import CallCost, SimulatedRun, Simulator

__all__ = [
    "CallCost",
    "EpisodeTimes",
    "Mode",
    "Profile",
    "ProfileTimes",
    "ServiceTimes",
    "SimulatedRow",
    "SimulatedRun",
    "Simulator",
    "Times",
    "TraceTimes",
    "WorkerTimes",
    "compare",
    "list_profiles",
    "load_profile",
    "load_times",
]
