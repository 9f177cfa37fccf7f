"""What a call of a model takes, where the time of a single's call is drawn."""

from __future__ import annotations

from typing import NamedTuple


class CallCost(NamedTuple):
    """What a call of a model takes: (ratio + per_query x queries) x (a draw of the single's) + overhead, seconds.

    Of a call that n singles share, `ratio` is taken share + (1 - share) x max(1, n / flat) times: `share` of it is paid
    once, and the rest is compute, which is the same up to `flat` singles and grows in proportion from there on.
    """

    ratio: float = 1.0
    overhead: float = 0.0
    per_query: float = 0.0
    share: float = 1.0
    flat: float = 1.0

    def of(self, drawn: float, queries: int = 1) -> float:
        """Seconds, where a single's call was drawn to take `drawn`."""
        ratio = self.ratio
        if queries > self.flat:
            ratio *= self.share + (1 - self.share) * queries / self.flat
        return drawn * (ratio + self.per_query * queries) + self.overhead
