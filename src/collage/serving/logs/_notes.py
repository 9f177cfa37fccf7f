"""What is known of the request that is being answered, for its line in the log. One for each request's own task."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from collage.serving.traces._traces import RequestTrace

ID_HEADER = "x-request-id"  # in gRPC's metadata, too
_LONGEST = 200

_random = random.Random()  # an id tells requests apart, and opens nothing: it need not be beyond guessing


@dataclass(slots=True, eq=False)
class RequestNotes:
    """One request, whatever the transport.

    tenant: its name, "" where there is none. queries: images that it holds, as far as they are known. sources: how many
    of them which kind of job answered. why: the metric's word for why they got no answer, or "". began: when its
    head had come, on `time.monotonic`.
    """

    id: str
    chosen: bool = False  # the id, by the client
    tenant: str = ""
    queries: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    why: str = ""
    began: float = field(default_factory=time.monotonic)
    parent: Context | None = None  # the caller's span, where traces are made
    trace: RequestTrace | None = None  # where this request is traced

    @classmethod
    def of(cls, asked: str | None) -> RequestNotes:
        """A request with this id in its header, if any."""
        chosen = _checked(asked)
        return cls(chosen or f"{_random.getrandbits(64):016x}", bool(chosen))

    def answered(self, sources: Iterable[str]) -> None:
        """Which kinds of jobs answered its queries."""
        for source in sources:
            self.sources[source] = self.sources.get(source, 0) + 1


current_request: ContextVar[RequestNotes | None] = ContextVar("current_request", default=None)


def note_id(asked: str) -> None:
    """The id in the body of the current request: it counts where the header had none."""
    notes = current_request.get()
    if notes is not None and not notes.chosen and (chosen := _checked(asked)):
        notes.id, notes.chosen = chosen, True


def _checked(asked: str | None) -> str:
    """A client's id, or "" where it is none that can go into headers and logs: printable ASCII, at most 200."""
    if asked is None or not (asked.isascii() and asked.isprintable() and len(asked) <= _LONGEST):
        return ""
    return asked.strip()
