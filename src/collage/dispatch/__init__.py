"""The heart: a state machine without I/O, clock or images. Events in, actions out."""

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
    "Cancel",
    "Decode",
    "DispatchStats",
    "DispatchView",
    "Dispatcher",
    "JobId",
    "Outcome",
    "Policy",
    "QueryId",
    "Reject",
    "Role",
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
