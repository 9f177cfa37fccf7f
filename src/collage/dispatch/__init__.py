"""The heart: a state machine without I/O, clock or images. Events in, actions out."""

from collage.dispatch._autoscaler import Autoscaler, Load, Scaling
from collage.dispatch._dispatcher import Dispatcher
from collage.dispatch._events import (
    Action,
    Answer,
    Cancel,
    Decode,
    JobId,
    Outcome,
    QueryId,
    Reject,
    Role,
    Settled,
    Source,
    Start,
    Why,
    WorkerId,
    WorkerState,
)
from collage.dispatch._policy import PRESETS, Policy, get_policy, worker_roles
from collage.dispatch._stats import DispatchStats, DispatchView, WorkerView

__all__ = [
    "PRESETS",
    "Action",
    "Answer",
    "Autoscaler",
    "Cancel",
    "Decode",
    "DispatchStats",
    "DispatchView",
    "Dispatcher",
    "JobId",
    "Load",
    "Outcome",
    "Policy",
    "QueryId",
    "Reject",
    "Role",
    "Scaling",
    "Settled",
    "Source",
    "Start",
    "Why",
    "WorkerId",
    "WorkerState",
    "WorkerView",
    "get_policy",
    "worker_roles",
]
