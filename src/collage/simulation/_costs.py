"""What a call of a model takes, where the time of a single's call is drawn."""

from __future__ import annotations

from typing import NamedTuple


class CallCost(NamedTuple):
    """What a call of a model takes: (ratio + per_query x queries) x (a draw of the single's) + overhead, seconds."""

    ratio: float = 1.0
    overhead: float = 0.0
    per_query: float = 0.0

    def of(self, drawn: float, queries: int = 1) -> float:
        """Seconds, where a single's call was drawn to take `drawn`."""
        return drawn * (self.ratio + self.per_query * queries) + self.overhead
