"""What may be spent on redundancy: a token bucket of worker-seconds, filled by the singles' own work."""

from __future__ import annotations

from collage.dispatch._sketch import LatencySketch


class Budget:
    """Every single that ends puts `share` of its seconds in; a backup takes its expected seconds out as it starts.

    When a backup has ended, the difference to its real seconds follows, so that what is bounded is work and not jobs:
    after a backup that straggled the bucket may be below zero, and nothing is allowed until it has filled again. It
    holds at most `burst` mean single times, and starts full. `share` may be changed at any time.
    """

    def __init__(self, share: float, burst: float, singles: LatencySketch) -> None:
        self.share = share
        self._burst = burst
        self._singles = singles
        self._spare: float | None = None  # seconds; None: full, of a size not yet known

    @property
    def balance(self) -> float:
        """Worker-seconds that may be spent now."""
        most = self._burst * self._singles.mean
        return most if self._spare is None else min(self._spare, most)

    def earn(self, seconds: float) -> None:
        """A single has ended after so many seconds."""
        most = self._burst * self._singles.mean
        spare = self._spare
        spare = (most if spare is None or spare > most else spare) + self.share * seconds
        self._spare = spare if spare < most else most

    def allows(self, seconds: float) -> bool:
        """Whether a backup of so many expected seconds may start. A share of 0 allows none, ever."""
        return self.share > 0 and self.balance >= seconds

    def spend(self, seconds: float) -> None:
        """Take out; a negative amount gives back."""
        if seconds:
            self._spare = self.balance - seconds
