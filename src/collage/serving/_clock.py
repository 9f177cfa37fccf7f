"""The clock of the gateway.

uvloop's own counts whole milliseconds: too coarse for models that take one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class LoopClock:
    """`time.monotonic`, with timers of the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        """Seconds."""
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call back at that time. The loop may round it: whoever is called looks at the clock."""
        return self._loop.call_later(max(0.0, when - time.monotonic()), callback)
