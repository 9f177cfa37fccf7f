"""The heart: a state machine without I/O, clock or images. Events in, actions out."""

from collage.dispatch._events import (
    Action,
    Answer,
    Cancel,
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

__all__ = [
    "Action",
    "Answer",
    "Cancel",
    "JobId",
    "Outcome",
    "QueryId",
    "Reject",
    "Role",
    "Settled",
    "Source",
    "Start",
    "Why",
    "WorkerId",
    "WorkerState",
]
