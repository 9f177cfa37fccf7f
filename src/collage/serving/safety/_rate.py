"""A token bucket. It reads no clock: whoever asks says what time it is."""

from __future__ import annotations


class Bucket:
    """So many queries a second in the long run, and `burst` of them at once; full at first."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._at: float | None = None

    def take(self, count: int, now: float) -> float:
        """Takes the tokens and returns 0; or, where too few are there, takes none and returns the seconds until they
        are: infinity for more than a burst.
        """
        if self._at is not None:
            self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        if count > self.burst:
            return float("inf")
        # A wait that was kept to the instant must be enough, whatever the last digit of a float says.
        if self._tokens + 1e-9 * self.burst >= count:
            self._tokens -= count
            return 0.0
        return (count - self._tokens) / self.rate

    def give_back(self, count: int) -> None:
        """Tokens that were not used after all."""
        self._tokens = min(float(self.burst), self._tokens + count)
