"""What a client may ask of its queries, whatever the protocol: a deadline, and no degraded answers."""

from __future__ import annotations

import math
from typing import NamedTuple

from collage.exceptions import InvalidInput
from collage.serving._settings import ServingSettings


class QueryOptions(NamedTuple):
    """deadline: seconds from now; None: as long as it takes."""

    accept_degraded: bool
    deadline: float | None


def check_deadline(milliseconds: float, settings: ServingSettings, field: str) -> float:
    """A client's deadline in seconds. Raises InvalidInput unless it is above 0 and at most `max_deadline`."""
    most = settings.max_deadline * 1e3
    if not math.isfinite(milliseconds) or not 0 < milliseconds <= most:
        raise InvalidInput(f"{milliseconds:g}; a number above 0 and at most {most:g} is needed", field=field)
    return milliseconds / 1e3
