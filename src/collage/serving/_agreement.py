"""How often single and backup agree, and the guard that switches the backup off where they do so too seldom.

What is compared are controls: queries whose losers run to the end unseen, so that neither's being late chooses them.
"""

from __future__ import annotations

import logging
from collections import deque

_log = logging.getLogger(__name__)

_WINDOW = 200  # comparisons that are looked back on
_ENOUGH = 100  # before anything is made of them: at 90% agreement, the share is then known to within 6 points


class Agreement:
    """Counts comparisons since the start, and watches the last ones.

    least: share of the last comparisons, 0..1, below which the backup is switched off; None: never. It stays off until
    it is switched on: nothing is compared meanwhile, so nothing could show that it is well again.
    """

    def __init__(self, least: float | None = None) -> None:
        self.least = least
        self.agreed = 0
        self.compared = 0
        self.backup_off = False
        self._recent: deque[bool] = deque(maxlen=_WINDOW)

    @property
    def recent(self) -> float | None:
        """Share of the last comparisons in which both named the same class; None: too few yet."""
        return sum(self._recent) / len(self._recent) if len(self._recent) >= _ENOUGH else None

    def add(self, same: bool) -> None:
        """A control has been answered by both."""
        self.compared += 1
        self.agreed += same
        self._recent.append(same)
        recent = self.recent
        if self.least is not None and recent is not None and recent < self.least and not self.backup_off:
            _log.error(
                "the backup is off: it agreed with the single in %.1f%% of the last %d controls; at least %.1f%% must",
                100 * recent,
                len(self._recent),
                100 * self.least,
            )
            self.backup_off = True

    def switch(self, *, on: bool) -> None:
        """By an operator. Switched on, it is judged by what comes from now on."""
        self.backup_off = not on
        self._recent.clear()
