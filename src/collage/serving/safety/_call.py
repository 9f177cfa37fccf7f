"""The call that is being answered: who asked, and what it counts as. One for each request's own task."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from collage.serving.safety._tenants import Admission, Tenant


@dataclass(slots=True)
class Call:
    """One request that asks for classes, whatever the transport."""

    tenant: Tenant
    admission: Admission


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
