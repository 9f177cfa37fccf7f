"""The answers of the last minute, for the first page: a sliding window over latencies and sources."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from collage.dispatch import Source

_MAX_ANSWERS = 20_000  # so that a busy gateway's page costs as little as a quiet one's
_MAX_DOTS = 300  # of each kind, singles and others, in the picture


class _Seen(NamedTuple):
    at: float  # on the window's clock
    seconds: float
    source: Source


class AnswerWindow:
    """Keeps the answers of the last `length` seconds, at most 20,000. Times are on any clock that never goes back."""

    def __init__(self, length: float = 60.0) -> None:
        self.length = length
        self._answers: deque[_Seen] = deque(maxlen=_MAX_ANSWERS)

    def add(self, now: float, seconds: float, source: Source) -> None:
        """An answer was given after `seconds`."""
        self._answers.append(_Seen(now, seconds, source))

    def summary(self, now: float) -> dict[str, Any]:
        """Latency percentiles (seconds; None without answers), answers a second, and a thinned list of the answers."""
        while self._answers and self._answers[0].at <= now - self.length:
            self._answers.popleft()
        latencies = np.array([answer.seconds for answer in self._answers])
        if latencies.size:
            p50, p99, p999 = np.quantile(latencies, (0.5, 0.99, 0.999), method="inverted_cdf").tolist()
            # A window that is full of answers, or has just begun, covers less than its length.
            covered = max(now - self._answers[0].at, 1.0)
        else:
            p50 = p99 = p999 = None
            covered = 1.0
        return {
            "window": self.length,
            "latency": {"count": int(latencies.size), "p50": p50, "p99": p99, "p999": p999},
            "rate": latencies.size / covered,
            "recent": self._dots(now),
        }

    def _dots(self, now: float) -> list[dict[str, Any]]:
        """At most 300 singles and 300 others, evenly thinned: backups' answers are few, and what the picture is for."""
        singles = [answer for answer in self._answers if answer.source is Source.SINGLE]
        others = [answer for answer in self._answers if answer.source is not Source.SINGLE]
        return [
            {"age": round(now - answer.at, 2), "seconds": round(answer.seconds, 4), "source": answer.source.value}
            for kind in (singles, others)
            for answer in kind[:: 1 + len(kind) // _MAX_DOTS]
        ]
