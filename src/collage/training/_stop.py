"""Ctrl-C and SIGTERM: a training ends at its next step, with a checkpoint; before and after, at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether to stop. `signal` is the one that came, None before; `stopped`: the training has ended because of it."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.stopped = False
        self._gentle = False

    @property
    def status(self) -> int:
        """The exit status of a command that was stopped so."""
        return 128 + (self.signal or signal.SIGTERM)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """In here a first signal is only noted; a second one ends it at once, as any does outside."""
        self._gentle = True
        try:
            yield
        finally:
            self._gentle = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals come here. Outside `gently` they raise KeyboardInterrupt. In the main thread only."""
        before = {number: signal.signal(number, self._heard) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, number
        if again or not self._gentle:
            raise KeyboardInterrupt
